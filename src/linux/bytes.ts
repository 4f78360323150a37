/**
 * Memory shared with the kernel: bytes whose address does not change.
 *
 * JavaScriptCore keeps the storage of an ArrayBuffer where it was allocated, and keeps it alive as
 * long as the object is referenced; whoever passes `address` to the kernel must hold the
 * `NativeBytes`, never the number alone.
 */
import { type Pointer, ptr } from "bun:ffi"

export class NativeBytes {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly view: DataView<ArrayBuffer>
  /** The number to hand to a system call. */
  readonly address: Pointer

  constructor(length: number) {
    const buffer = new ArrayBuffer(length)
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
    this.address = ptr(buffer)
  }

  /** The address of byte `offset`, for a call that starts there. */
  at(offset: number): Pointer {
    return (this.address + offset) as Pointer
  }

  static of(source: Uint8Array): NativeBytes {
    const copy = new NativeBytes(source.length)
    copy.bytes.set(source)
    return copy
  }

  /** A NUL-terminated C string. */
  static text(text: string): NativeBytes {
    return NativeBytes.of(Buffer.from(`${text}\0`, "utf8"))
  }
}
