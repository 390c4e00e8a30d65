/** What a server says on a connection that hears channels. */
export type ChannelWord =
  | { readonly kind: 'message'; readonly channel: string; readonly message: string }
  /** To the oldest command that has none yet. */
  | { readonly kind: 'answer' }
  /** The same, in the words of Redis. */
  | { readonly kind: 'refusal'; readonly text: string }

/** Longest text that is read, in bytes; gateways send far shorter ones. */
const MAX_TEXT_BYTES = 1_048_576
/** Longest of all that begins and has no end yet. */
const MAX_WAITING_BYTES = 2 * MAX_TEXT_BYTES
const MAX_LINE_BYTES = 65_536
const MAX_ITEMS = 8

/** What answers a command on such a connection, as the first of several words. */
const ANSWERS: ReadonlySet<unknown> = new Set(['subscribe', 'unsubscribe', 'pong'])

type Item = string | null
type Value = Item | readonly Item[] | { readonly refusal: string }

/** A value and where it ends; or it is not there as a whole yet; or it is none. */
type Read<T> = { readonly value: T; readonly end: number } | 'more' | 'bad'

/** Reads RESP2 of any bytes, within bounds. */
export class ChannelReader {
  #rest: Buffer = Buffer.alloc(0)

  /** What is whole by now; undefined for what no Redis says here. The bytes are kept until then. */
  push(piece: Buffer): readonly ChannelWord[] | undefined {
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
    const words: ChannelWord[] = []
    let at = 0
    while (at < bytes.length) {
      const read = readValue(bytes, at)
      if (read === 'more') break
      const word = read === 'bad' ? undefined : wordOf(read.value)
      if (read === 'bad' || word === undefined) return undefined
      words.push(word)
      at = read.end
    }
    this.#rest = bytes.subarray(at)
    return this.#rest.length > MAX_WAITING_BYTES ? undefined : words
  }
}

function wordOf(value: Value): ChannelWord | undefined {
  if (value === null || typeof value === 'string') return { kind: 'answer' }
  if ('refusal' in value) return { kind: 'refusal', text: value.refusal }
  const [first, channel, message] = value
  if (ANSWERS.has(first)) return { kind: 'answer' }
  const isMessage = first === 'message' && typeof channel === 'string' && typeof message === 'string'
  return isMessage ? { kind: 'message', channel, message } : undefined
}

function readValue(bytes: Buffer, at: number): Read<Value> {
  const kind = bytes[at]
  if (kind !== star && kind !== minus) return readItem(bytes, at)
  const line = readLine(bytes, at)
  if (typeof line === 'string') return line
  if (kind === minus) return { value: { refusal: line.value }, end: line.end }
  const count = lengthOf(line.value, MAX_ITEMS)
  if (count === undefined) return 'bad'
  const items: Item[] = []
  let { end } = line
  for (let index = 0; index < count; index++) {
    const item = readItem(bytes, end)
    if (typeof item === 'string') return item
    items.push(item.value)
    end = item.end
  }
  return { value: items, end }
}

function readItem(bytes: Buffer, at: number): Read<Item> {
  if (at >= bytes.length) return 'more'
  const kind = bytes[at]
  if (kind !== dollar && kind !== plus && kind !== colon) return 'bad'
  const line = readLine(bytes, at)
  if (typeof line === 'string' || kind !== dollar) return line
  if (line.value === '-1') return { value: null, end: line.end }
  const length = lengthOf(line.value, MAX_TEXT_BYTES)
  if (length === undefined) return 'bad'
  const end = line.end + length
  if (bytes.length < end + 2) return 'more'
  if (bytes[end] !== 13 || bytes[end + 1] !== 10) return 'bad'
  return { value: bytes.toString('utf8', line.end, end), end: end + 2 }
}

/** What stands behind the first byte, up to the end of the line. */
function readLine(bytes: Buffer, at: number): Read<string> {
  const end = bytes.indexOf('\r\n', at)
  if (end < 0) return bytes.length - at > MAX_LINE_BYTES ? 'bad' : 'more'
  return { value: bytes.toString('utf8', at + 1, end), end: end + 2 }
}

function lengthOf(text: string, most: number): number | undefined {
  return /^\d{1,7}$/.test(text) && Number(text) <= most ? Number(text) : undefined
}

const [plus, minus, colon, dollar, star] = Buffer.from('+-:$*')
