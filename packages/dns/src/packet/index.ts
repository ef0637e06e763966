/**
 * Between netkit's wire and the message type of `dns-packet`, for edits and for programs that know it.
 *
 * @packageDocumentation
 */
export * from './packet.ts'
