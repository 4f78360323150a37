/**
 * OpenSSL 3 through bun:ffi: the one table of functions of libssl and libcrypto that we call.
 *
 * The host's libraries, because the distribution patches them. They are opened on first use: a
 * configuration without TLS runs on a machine without them, and one with TLS gets a sentence that
 * says what is missing instead of a crash.
 *
 * A thread's error queue outlives the call that filled it, and `SSL_get_error` takes what it finds
 * there for the doing of the latest call: a broken client would end the next healthy connection of
 * its thread. So `forgetErrors` goes before every call whose failure is asked about.
 */
import { CString, dlopen, type Pointer } from "bun:ffi"
import { existsSync } from "node:fs"
import { lastErrno } from "./libc.ts"

const LIBSSL = "libssl.so.3"
const LIBCRYPTO = "libcrypto.so.3"
const LIBRARIES = [LIBSSL, LIBCRYPTO]

const i32 = "i32"
const u32 = "u32"
const i64 = "i64"
const u64 = "u64"
const ptr = "ptr"
const none = "void"

function openLibraries() {
  return { ...openLibssl(), ...openLibcrypto() }
}

function openLibssl() {
  return dlopen(LIBSSL, {
    OPENSSL_init_ssl: { args: [u64, ptr], returns: i32 },
    SSL_CIPHER_get_name: { args: [ptr], returns: ptr },
    SSL_CTX_add_client_CA: { args: [ptr, ptr], returns: i32 },
    SSL_CTX_ctrl: { args: [ptr, i32, i64, ptr], returns: i64 },
    SSL_CTX_free: { args: [ptr], returns: none },
    SSL_CTX_get_cert_store: { args: [ptr], returns: ptr },
    SSL_CTX_new: { args: [ptr], returns: ptr },
    SSL_CTX_set_alpn_select_cb: { args: [ptr, ptr, ptr], returns: none },
    SSL_CTX_set_cipher_list: { args: [ptr, ptr], returns: i32 },
    SSL_CTX_set_ciphersuites: { args: [ptr, ptr], returns: i32 },
    SSL_CTX_set_default_verify_paths: { args: [ptr], returns: i32 },
    SSL_CTX_set_num_tickets: { args: [ptr, u64], returns: i32 },
    SSL_CTX_set_options: { args: [ptr, u64], returns: none },
    SSL_CTX_set_session_id_context: { args: [ptr, ptr, u32], returns: i32 },
    SSL_CTX_set_verify: { args: [ptr, i32, ptr], returns: none },
    SSL_CTX_use_cert_and_key: { args: [ptr, ptr, ptr, ptr, i32], returns: i32 },
    SSL_SESSION_free: { args: [ptr], returns: none },
    SSL_SESSION_is_resumable: { args: [ptr], returns: i32 },
    SSL_ctrl: { args: [ptr, i32, i64, ptr], returns: i64 },
    SSL_do_handshake: { args: [ptr], returns: i32 },
    SSL_free: { args: [ptr], returns: none },
    SSL_get0_alpn_selected: { args: [ptr, ptr, ptr], returns: none },
    SSL_get0_param: { args: [ptr], returns: ptr },
    SSL_get1_peer_certificate: { args: [ptr], returns: ptr },
    SSL_get1_session: { args: [ptr], returns: ptr },
    SSL_get_current_cipher: { args: [ptr], returns: ptr },
    SSL_get_error: { args: [ptr, i32], returns: i32 },
    SSL_get_verify_result: { args: [ptr], returns: i32 },
    SSL_has_pending: { args: [ptr], returns: i32 },
    SSL_new: { args: [ptr], returns: ptr },
    SSL_read: { args: [ptr, ptr, i32], returns: i32 },
    SSL_session_reused: { args: [ptr], returns: i32 },
    SSL_set1_host: { args: [ptr, ptr], returns: i32 },
    SSL_set_accept_state: { args: [ptr], returns: none },
    SSL_set_connect_state: { args: [ptr], returns: none },
    SSL_set_fd: { args: [ptr, i32], returns: i32 },
    SSL_set_hostflags: { args: [ptr, u32], returns: none },
    SSL_set_session: { args: [ptr, ptr], returns: i32 },
    SSL_shutdown: { args: [ptr], returns: i32 },
    SSL_version: { args: [ptr], returns: i32 },
    SSL_write: { args: [ptr, ptr, i32], returns: i32 },
    TLS_client_method: { args: [], returns: ptr },
    TLS_server_method: { args: [], returns: ptr },
  }).symbols
}

function openLibcrypto() {
  return dlopen(LIBCRYPTO, {
    BIO_free: { args: [ptr], returns: i32 },
    BIO_new: { args: [ptr], returns: ptr },
    BIO_new_mem_buf: { args: [ptr, i32], returns: ptr },
    BIO_read: { args: [ptr, ptr, i32], returns: i32 },
    BIO_s_mem: { args: [], returns: ptr },
    ERR_clear_error: { args: [], returns: none },
    ERR_get_error: { args: [], returns: u64 },
    // The code is an unsigned long of 32 significant bits; all that is asked is whether it is 0.
    ERR_peek_error: { args: [], returns: i32 },
    ERR_reason_error_string: { args: [u64], returns: ptr },
    EVP_PKEY_free: { args: [ptr], returns: none },
    OPENSSL_sk_free: { args: [ptr], returns: none },
    OPENSSL_sk_new_null: { args: [], returns: ptr },
    OPENSSL_sk_push: { args: [ptr, ptr], returns: i32 },
    OpenSSL_version: { args: [i32], returns: ptr },
    PEM_read_bio_PrivateKey: { args: [ptr, ptr, ptr, ptr], returns: ptr },
    PEM_read_bio_X509: { args: [ptr, ptr, ptr, ptr], returns: ptr },
    X509_NAME_print_ex: { args: [ptr, ptr, i32, u64], returns: i32 },
    X509_STORE_add_cert: { args: [ptr, ptr], returns: i32 },
    X509_VERIFY_PARAM_set1_ip_asc: { args: [ptr, ptr], returns: i32 },
    X509_free: { args: [ptr], returns: none },
    X509_get_subject_name: { args: [ptr], returns: ptr },
    X509_verify_cert_error_string: { args: [i64], returns: ptr },
  }).symbols
}

type Functions = ReturnType<typeof openLibraries>
/** Addresses fit a number on the machines we run on, whatever bun:ffi allows for. */
type Returned<Type> = Pointer extends Type ? Exclude<Type, bigint> : Type

export type Openssl = {
  readonly [Name in keyof Functions]: (
    ...args: Parameters<Functions[Name]>
  ) => Returned<ReturnType<Functions[Name]>>
}
/** An object of OpenSSL's. Whoever made it frees it, once. */
export type Handle = Pointer

export type OpensslLoad =
  | { readonly ok: true; readonly openssl: Openssl }
  | { readonly ok: false; readonly reason: string }

/** Without it the libraries would be torn down at exit under the feet of threads that use them. */
const OPENSSL_INIT_NO_ATEXIT = 0x00080000

let loaded: OpensslLoad | undefined

/** Opens the libraries, once. */
export function loadOpenssl(): OpensslLoad {
  loaded ??= tryLoading()
  return loaded
}

/** The functions. Throws when the libraries are missing. */
export function openssl(): Openssl {
  const load = loadOpenssl()
  if (load.ok) return load.openssl
  throw new Error(load.reason)
}

function tryLoading(): OpensslLoad {
  const missing = "TLS needs OpenSSL 3 (libssl.so.3 and libcrypto.so.3) on this host"
  // What the system does not have, Bun looks for in the working directory, and would run it.
  const stray = LIBRARIES.find((name) => existsSync(name))
  if (stray !== undefined) {
    return { ok: false, reason: `${missing}, and not ${stray} in the working directory` }
  }
  try {
    const functions = openLibraries() as Openssl
    functions.OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, null)
    return { ok: true, openssl: functions }
  } catch (error) {
    return { ok: false, reason: `${missing}: ${error instanceof Error ? error.message : error}` }
  }
}

/** "OpenSSL 3.0.19 27 Jan 2026". Throws when the libraries are missing. */
export function opensslVersion(): string {
  return textAt(openssl().OpenSSL_version(0))
}

/** Empties the error queue of this thread. Nearly always it is empty, and that is cheap to see. */
export function forgetErrors(functions: Openssl): void {
  if (functions.ERR_peek_error() !== 0) functions.ERR_clear_error()
}

export interface OpensslError {
  /** A number of sslerr.h and the like, 0 when the queue was empty. */
  readonly reason: number
  /** "wrong version number". */
  readonly text: string
}

const REASON_MASK = 0x7fffffn
const SYSTEM_ERROR = 0x80000000n

/**
 * The first error since the queue was last empty, which names the cause best; empties the queue.
 */
export function takeError(functions: Openssl): OpensslError {
  const code = functions.ERR_get_error()
  functions.ERR_clear_error()
  if (code === 0n) return { reason: 0, text: "" }
  // Errors of the system are their errno; OpenSSL has no text for them.
  if ((code & SYSTEM_ERROR) !== 0n) return { reason: 0, text: `errno ${code & ~SYSTEM_ERROR}` }
  const text = textAt(functions.ERR_reason_error_string(code))
  return { reason: Number(code & REASON_MASK), text }
}

/** errno of the call that just failed with SSL_ERROR_SYSCALL; 0 when the peer just left. */
export { lastErrno as systemErrno }

/** A C string that OpenSSL keeps. */
export function textAt(address: Pointer | null): string {
  return address === null ? "" : new CString(address).toString()
}

export const SSL_ERROR_SSL = 1
export const SSL_ERROR_WANT_READ = 2
export const SSL_ERROR_WANT_WRITE = 3
export const SSL_ERROR_SYSCALL = 5
export const SSL_ERROR_ZERO_RETURN = 6
