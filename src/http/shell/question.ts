/**
 * Asking what a request has to wait for: a password that the control thread verifies (by design too
 * slow for a data thread), or a permission that a server gives (forward auth).
 */

import { writeForwardingFields } from "../forwarding.ts"
import { type RequestHead, ResponseHead } from "../head.ts"
import { connectionOptions, copyFields } from "../hop-by-hop.ts"
import { HeadWriter } from "../parts.ts"
import type {
  Decision,
  HeldRequest,
  PasswordQuestion,
  PermissionAnswer,
  PermissionQuestion,
  Question,
} from "../route.ts"
import { HEAD_ROOM_BYTES, outboundBuffer } from "./context.ts"
import type { ExchangeClient } from "./exchange-client.ts"
import { saveRequest } from "./saved-request.ts"
import { SideRequest } from "./side-request.ts"

const writer = new HeadWriter(outboundBuffer, 0, HEAD_ROOM_BYTES)
const NO_ANSWER: PermissionAnswer = { status: 0, field: () => undefined }
const PERMISSION_MS_MAX = 5_000

type Settled = (settle: (request: HeldRequest) => Decision) => void

/** Asks; `settled` is called once, later, unless the returned function has been called. */
export function askQuestion(
  client: ExchangeClient,
  asked: { readonly question: Question; readonly head: RequestHead },
  settled: Settled,
): () => void {
  const { question, head } = asked
  return question.type === "password"
    ? askPassword(client, question, settled)
    : askPermission(client, { question, head }, settled)
}

function askPassword(
  client: ExchangeClient,
  question: PasswordQuestion,
  settled: Settled,
): () => void {
  const { password, hash } = question
  return client.context.verifyPassword({ password, hash }, (verdict) => {
    settled((request) => question.settle(verdict, request))
  })
}

function askPermission(
  client: ExchangeClient,
  { question, head }: { readonly question: PermissionQuestion; readonly head: RequestHead },
  settled: Settled,
): () => void {
  const { context } = client
  const pool = context.pools.get(question.pool)
  writer.reset()
  writer.text(`GET ${question.target} HTTP/1.1\r\n`)
  if (head.authority !== "") writer.field("Host", head.authority)
  copyFields(head, writer, {
    filter: question.filter,
    nominated: connectionOptions(head).nominated,
    dropsLength: true,
  })
  writeForwardingFields(writer, head, client)
  writer.text(question.fields)
  writer.text("\r\n")
  const request = { saved: saveRequest(outboundBuffer, writer.at), method: "GET", client }
  const isSendable = pool !== undefined && !writer.isFull
  const side = new SideRequest(context, request, (head) => {
    const answer = head === undefined ? NO_ANSWER : keptAnswer(head)
    settled((held) => question.settle(answer, held))
  })
  // Not now: the asker is not ready yet for an answer that comes at once.
  context.reactor.soon(() => {
    if (isSendable) side.start(pool, PERMISSION_MS_MAX)
    else side.onTimer()
  }, client)
  return () => side.cancel()
}

/** The bytes of an answer are overwritten by the request that comes back. */
function keptAnswer(head: ResponseHead): PermissionAnswer {
  const copy = new ResponseHead()
  const bytes = Buffer.from(head.bytes.subarray(head.start, head.end))
  copy.parse(bytes, 0, bytes.length, ANSWER_LIMITS)
  return { status: copy.status, field: (name) => copy.valueByName(name) }
}

const ANSWER_LIMITS = { headBytesMax: 64 * 1024, fieldsMax: 256 }
