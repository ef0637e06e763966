/**
 * Why a message is not HTTP/1.1 as we read it. We are stricter than the engine on purpose: wherever two parsers may disagree about
 * where a message ends, a request can hide in another one (RFC 9112 11.2), so nothing ambiguous is forwarded.
 */
export type HttpFault =
  | 'head-too-long'
  | 'too-many-fields'
  | 'bare-line-feed'
  | 'bare-carriage-return'
  | 'control-character'
  | 'bad-request-line'
  | 'bad-status-line'
  | 'unsupported-version'
  | 'bad-field'
  | 'folded-field'
  | 'duplicate-host'
  | 'duplicate-content-length'
  | 'bad-content-length'
  | 'content-length-with-transfer-encoding'
  | 'unsupported-transfer-encoding'
  | 'bad-chunk'
  | 'trailers-too-long'

const explanations: Record<HttpFault, string> = {
  'head-too-long': 'the head is longer than 64 KiB',
  'too-many-fields': 'the head has more than 1000 fields',
  'bare-line-feed': 'a line ends in LF without CR',
  'bare-carriage-return': 'a CR is not followed by LF',
  'control-character': 'a field holds a control character',
  'bad-request-line': 'the first line is not "method target HTTP/1.1"',
  'bad-status-line': 'the first line is not "HTTP/1.1 status reason"',
  'unsupported-version': 'the version is neither HTTP/1.1 nor HTTP/1.0',
  'bad-field': 'a line of the head is not "name: value"',
  'folded-field': 'a field goes on in the next line (obsolete line folding)',
  'duplicate-host': 'there are two Host fields',
  'duplicate-content-length': 'there are two Content-Length fields',
  'bad-content-length': 'Content-Length is not a number',
  'content-length-with-transfer-encoding': 'there are both Content-Length and Transfer-Encoding',
  'unsupported-transfer-encoding': 'Transfer-Encoding is not "chunked"',
  'bad-chunk': 'a chunk of the body is malformed',
  'trailers-too-long': 'the trailers of the body are longer than 16 KiB',
}

/** The fault as a sentence part, for whoever sent it. */
export function explainFault(fault: HttpFault): string {
  return explanations[fault]
}
