import { FLAG } from '../wire/header.ts'
import type { Message } from '../wire/message.ts'
import { fold } from '../wire/name.ts'

/**
 * Whether a scanned message is a response to `request`: QR, opcode, and the same single question, without regard to case.
 * The id is the transport's to check.
 */
export function answersQuestion(
  response: Message,
  request: Uint8Array,
  requestLength: number,
): boolean {
  if ((response.flags & FLAG.QR) === 0 || response.opcode !== 0 || response.questions !== 1)
    return false
  const { bytes, questionEnd } = response
  if (questionEnd > requestLength) return false
  const nameEnd = questionEnd - 4
  for (let i = 12; i < nameEnd; i++) {
    if (fold(bytes[i] ?? 0) !== fold(request[i] ?? 0)) return false
  }
  for (let i = nameEnd; i < questionEnd; i++) if (bytes[i] !== request[i]) return false
  return true
}
