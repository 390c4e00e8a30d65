import { ByteReader } from '../../foundation/bytes.ts'

/** What the first bytes of a connection say. */
export type ClientHelloProgress =
  /** The ClientHello is not there in full; try again with more bytes from the same beginning. */
  | { readonly kind: 'more' }
  /**
   * `name` is the server that the client asks for (SNI), in lower case and without a trailing dot; empty when it asks for none.
   * `protocols` are those that it offers by ALPN.
   */
  | { readonly kind: 'hello'; readonly name: string; readonly protocols: readonly string[] }
  | { readonly kind: 'bad'; readonly reason: string }

const RECORD_HEADER_BYTES = 5
const HANDSHAKE_HEADER_BYTES = 4
/** RFC 8446 §5.1 */
const MAX_RECORD_BYTES = 16_384
const HANDSHAKE_RECORD = 22
const CLIENT_HELLO = 1
const SERVER_NAME_EXTENSION = 0
const ALPN_EXTENSION = 16
const HOST_NAME = 0

const MORE: ClientHelloProgress = { kind: 'more' }

/**
 * Reads a ClientHello (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1) from all bytes of a connection so far, over as many
 * records as it is cut into. Unknown extensions, cipher suites and versions (GREASE) are passed over.
 *
 * @param maxBytes a ClientHello that takes more, records included, is `bad`
 */
export function readClientHello(bytes: Uint8Array, maxBytes: number = MAX_RECORD_BYTES): ClientHelloProgress {
  const records = handshakeBytes(bytes)
  if (typeof records === 'string') return bad(records)
  const { message, isOver } = records
  const reader = new ByteReader(message)
  const type = reader.u8()
  if (message.length > 0 && type !== CLIENT_HELLO) return bad('the first message is no ClientHello')
  const length = reader.u24()
  if (!reader.failed && reader.remaining >= length) return readHello(reader.bytes(length))
  if (isOver) return bad('the ClientHello is broken off')
  const isTooLong = length > maxBytes - RECORD_HEADER_BYTES - HANDSHAKE_HEADER_BYTES
  if (isTooLong || bytes.length >= maxBytes) return bad(`the ClientHello exceeds ${maxBytes} bytes`)
  return MORE
}

/**
 * What the handshake records at the beginning carry, the last of them cut or not, and whether something else follows (early
 * data does); a text when there are none.
 */
function handshakeBytes(bytes: Uint8Array): { message: Uint8Array; isOver: boolean } | string {
  const fragments: Uint8Array[] = []
  const reader = new ByteReader(bytes)
  while (reader.remaining > 0) {
    // What cannot become a record is refused at its first bytes, so that nobody waits for the rest of it.
    if (reader.u8() !== HANDSHAKE_RECORD) {
      return fragments.length === 0 ? 'not a TLS handshake' : { message: concat(fragments), isOver: true }
    }
    if (reader.remaining > 0 && reader.u8() !== 3) return 'not a version of TLS'
    if (reader.remaining < RECORD_HEADER_BYTES - 2) break
    reader.u8()
    const length = reader.u16()
    if (length === 0 || length > MAX_RECORD_BYTES) return 'a record of a length that cannot be'
    fragments.push(reader.bytes(Math.min(length, reader.remaining)))
  }
  return { message: concat(fragments), isOver: false }
}

function readHello(hello: Uint8Array): ClientHelloProgress {
  const reader = new ByteReader(hello)
  // legacy_version, random
  reader.bytes(2 + 32)
  reader.bytes(reader.u8())
  reader.bytes(reader.u16())
  reader.bytes(reader.u8())
  if (reader.failed) return bad('the ClientHello is cut short')
  // Before TLS 1.2 extensions could be left out.
  if (reader.remaining === 0) return { kind: 'hello', name: '', protocols: [] }
  const extensions = new ByteReader(reader.bytes(reader.u16()))
  if (reader.failed || reader.remaining > 0) return bad('the extensions are cut short')
  let name: string | undefined
  let protocols: readonly string[] = []
  while (extensions.remaining > 0) {
    const type = extensions.u16()
    const body = extensions.bytes(extensions.u16())
    if (extensions.failed) return bad('an extension is cut short')
    if (type === ALPN_EXTENSION) protocols = readProtocols(body)
    if (type !== SERVER_NAME_EXTENSION) continue
    if (name !== undefined) return bad('more than one server_name')
    name = readNameList(body)
    if (name === undefined) return bad('a server_name that cannot be')
  }
  return { kind: 'hello', name: name ?? '', protocols }
}

/** None for a list that cannot be: whoever does the handshake refuses it. */
function readProtocols(body: Uint8Array): readonly string[] {
  const outer = new ByteReader(body)
  const list = new ByteReader(outer.bytes(outer.u16()))
  const protocols: string[] = []
  while (list.remaining > 0) {
    protocols.push(String.fromCharCode(...list.bytes(list.u8())))
    if (list.failed) return []
  }
  return protocols
}

function readNameList(body: Uint8Array): string | undefined {
  const outer = new ByteReader(body)
  const list = new ByteReader(outer.bytes(outer.u16()))
  if (outer.failed || outer.remaining > 0) return undefined
  let name: string | undefined
  while (list.remaining > 0) {
    const type = list.u8()
    const value = list.bytes(list.u16())
    if (list.failed) return undefined
    if (type !== HOST_NAME) continue
    // RFC 6066 §3: one name of a type.
    if (name !== undefined) return undefined
    const text = String.fromCharCode(...value)
    if (!NAME.test(text)) return undefined
    name = text.toLowerCase().replace(/\.$/, '')
  }
  return name
}

/** Printable ASCII, as domain names are on the wire, with the bound of DNS. */
const NAME = /^[\x21-\x7e]{1,255}$/

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function bad(reason: string): ClientHelloProgress {
  return { kind: 'bad', reason }
}
