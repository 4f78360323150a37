/**
 * The C library through bun:ffi: the one table of functions that the program calls.
 *
 * A call costs about 10 ns over the system call. Pointers are passed as numbers: given a typed
 * array, Bun looks up its storage at every call, which a loop that makes three calls per request
 * can do once. `bytes.ts` owns the memory behind such a number.
 *
 * errno is thread-local and is read in the same function right after the call that set it: no
 * JavaScript allocation stands between, so no collector thread's call can overwrite it.
 */
import { dlopen, type Pointer, read } from "bun:ffi"

const i32 = "i32"
const u32 = "u32"
const ptr = "ptr"
// Lengths and byte counts fit 31 bits here (1 MiB at the most); as i32 a call costs half as much as
// with 64-bit integers, which Bun checks for BigInt on every call.
const size = "i32"
const ssize = "i32"

export const libc = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: "ptr" },
  accept4: { args: [i32, ptr, ptr, i32], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  clock_gettime: { args: [i32, ptr], returns: i32 },
  close: { args: [i32], returns: i32 },
  connect: { args: [i32, ptr, u32], returns: i32 },
  epoll_create1: { args: [i32], returns: i32 },
  epoll_ctl: { args: [i32, i32, i32, ptr], returns: i32 },
  epoll_wait: { args: [i32, ptr, i32, i32], returns: i32 },
  eventfd: { args: [u32, i32], returns: i32 },
  fcntl: { args: [i32, i32, i32], returns: i32 },
  getpeername: { args: [i32, ptr, ptr], returns: i32 },
  getsockname: { args: [i32, ptr, ptr], returns: i32 },
  getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
  gettid: { args: [], returns: i32 },
  if_nametoindex: { args: [ptr], returns: u32 },
  ioctl: { args: [i32, u32, ptr], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  memcpy: { args: [ptr, ptr, size], returns: ptr },
  mmap: { args: [ptr, size, i32, i32, i32, i32], returns: ptr },
  mlock2: { args: [ptr, size, i32], returns: i32 },
  mlockall: { args: [i32], returns: i32 },
  open: { args: [ptr, i32, u32], returns: i32 },
  pipe2: { args: [ptr, i32], returns: i32 },
  prctl: { args: [i32, u32, u32, u32, u32], returns: i32 },
  prlimit: { args: [i32, i32, ptr, ptr], returns: i32 },
  read: { args: [i32, ptr, size], returns: ssize },
  recv: { args: [i32, ptr, size, i32], returns: ssize },
  recvfrom: { args: [i32, ptr, size, i32, ptr, ptr], returns: ssize },
  recvmsg: { args: [i32, ptr, i32], returns: ssize },
  sched_setaffinity: { args: [i32, size, ptr], returns: i32 },
  sched_setscheduler: { args: [i32, i32, ptr], returns: i32 },
  send: { args: [i32, ptr, size, i32], returns: ssize },
  sendmsg: { args: [i32, ptr, i32], returns: ssize },
  sendto: { args: [i32, ptr, size, i32, ptr, u32], returns: ssize },
  setpriority: { args: [i32, u32, i32], returns: i32 },
  setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
  shutdown: { args: [i32, i32], returns: i32 },
  socket: { args: [i32, i32, i32], returns: i32 },
  socketpair: { args: [i32, i32, i32, ptr], returns: i32 },
  splice: { args: [i32, ptr, i32, ptr, size, u32], returns: ssize },
  syscall: { args: [i32, i32, ptr, u32], returns: i32 },
  write: { args: [i32, ptr, size], returns: ssize },
}).symbols

/** The null pointer. */
export const NULL = null

// A Worker runs its own copy of this module on its own system thread: one location per thread.
const errnoLocation = libc.__errno_location() as Pointer

/** errno of the calling thread. Call it directly after the failed call. */
export function lastErrno(): number {
  return read.i32(errnoLocation, 0)
}
