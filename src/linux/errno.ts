/**
 * Kernel errors by name. Numbers are those of asm-generic/errno.h, shared by x86-64 and arm64.
 */
const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  3: "ESRCH",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  7: "E2BIG",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  20: "ENOTDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  25: "ENOTTY",
  28: "ENOSPC",
  30: "EROFS",
  32: "EPIPE",
  34: "ERANGE",
  71: "EPROTO",
  88: "ENOTSOCK",
  90: "EMSGSIZE",
  92: "ENOPROTOOPT",
  93: "EPROTONOSUPPORT",
  95: "EOPNOTSUPP",
  97: "EAFNOSUPPORT",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
  100: "ENETDOWN",
  101: "ENETUNREACH",
  103: "ECONNABORTED",
  104: "ECONNRESET",
  105: "ENOBUFS",
  106: "EISCONN",
  107: "ENOTCONN",
  108: "ESHUTDOWN",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  112: "EHOSTDOWN",
  113: "EHOSTUNREACH",
  114: "EALREADY",
  115: "EINPROGRESS",
  129: "EKEYREJECTED",
}

export const EPERM = 1
export const ENOENT = 2
export const ESRCH = 3
export const EINTR = 4
export const EAGAIN = 11
export const ENOMEM = 12
export const EACCES = 13
export const EBUSY = 16
export const EEXIST = 17
export const ENODEV = 19
export const EINVAL = 22
export const ENFILE = 23
export const EMFILE = 24
export const EROFS = 30
export const EPIPE = 32
export const EPROTO = 71
export const EMSGSIZE = 90
export const EAFNOSUPPORT = 97
export const EADDRINUSE = 98
export const EADDRNOTAVAIL = 99
export const ENETDOWN = 100
export const ENETUNREACH = 101
export const ECONNRESET = 104
export const ENOBUFS = 105
export const ENOTCONN = 107
export const ETIMEDOUT = 110
export const ECONNREFUSED = 111
export const EHOSTUNREACH = 113
export const EINPROGRESS = 115
export const EKEYREJECTED = 129

export function errnoName(errno: number): string {
  return NAMES[errno] ?? `errno ${errno}`
}

/** A system call that failed: "Cannot bind 192.0.2.10:443: EADDRINUSE". */
export class SystemError extends Error {
  readonly errno: number
  /** What was tried, without the cause: "bind 192.0.2.10:443". */
  readonly operation: string

  constructor(operation: string, errno: number, hint = "") {
    super(`Cannot ${operation}: ${errnoName(errno)}${hint === "" ? "" : ` (${hint})`}`)
    this.name = "SystemError"
    this.operation = operation
    this.errno = errno
  }

  get code(): string {
    return errnoName(this.errno)
  }
}
