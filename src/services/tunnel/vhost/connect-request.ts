/** A CONNECT request (RFC 9110 §9.3.6). */
export interface ConnectRequest {
  /** What is asked for, as it was written: `cam.example.com:80`. */
  readonly authority: string
  readonly proxyAuthorization: string | undefined
  /** Bytes of the head; what follows is the tunnel's. */
  readonly headBytes: number
}

/** 'not-connect' and 'malformed' are final. */
export type ConnectProgress = ConnectRequest | 'not-connect' | 'malformed'

/**
 * Reads the head of a CONNECT request from all bytes so far; undefined while it is not there in full. Lines may end in a bare
 * line feed: nothing behind the head is read here, so that nobody can disagree about it.
 */
export function readConnectRequest(bytes: Buffer): ConnectProgress | undefined {
  const end = endOfHead(bytes)
  const text = bytes.toString('latin1', 0, end ?? bytes.length)
  const isLineThere = text.includes('\n')
  if (!isLineThere) return LINE_BEGINNING.test(text) ? undefined : 'malformed'
  const [line = '', ...fields] = text.split(/\r?\n/)
  const request = REQUEST_LINE.exec(line)
  if (request === null) return 'malformed'
  if (request[1] !== 'CONNECT') return 'not-connect'
  if (end === undefined) return undefined
  let proxyAuthorization: string | undefined
  for (const field of fields) {
    if (field === '') continue
    const header = FIELD.exec(field)
    if (header === null) return 'malformed'
    if (header[1]?.toLowerCase() === 'proxy-authorization') proxyAuthorization ??= header[2]
  }
  return { authority: request[2] ?? '', proxyAuthorization, headBytes: end }
}

/** As much of it as can be told before its end. */
const LINE_BEGINNING = /^[A-Z]*(?: [\x21-\x7e\x80-\xff]*(?: [HTP/1.0]*\r?)?)?$/
const REQUEST_LINE = /^([A-Z]+) ([\x21-\x7e\x80-\xff]+) HTTP\/1\.[01]$/
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*$/

const LF = 10
const CR = 13

/** Where the empty line ends. */
function endOfHead(bytes: Buffer): number | undefined {
  for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    const next = bytes[at + 1]
    if (next === LF) return at + 2
    if (next === CR && bytes[at + 2] === LF) return at + 3
  }
  return undefined
}
