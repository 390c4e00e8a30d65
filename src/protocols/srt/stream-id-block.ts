import { ExtensionFlag, ExtensionType, type Handshake } from './handshake.ts'
import { reverseWords } from './words.ts'

/** Most bytes of a stream id. draft-sharabayko-srt-01 §3.2.1.3 */
export const MAX_STREAM_ID_BYTES = 512

/** Why the stream id of a conclusion cannot be told. */
export type StreamIdBlockFault = 'twice' | 'unflagged' | 'too-long' | 'not-text'

/**
 * The stream id of a conclusion; empty when it has none. A conclusion that two readers could take for different stream
 * ids has a fault: the gateway would decide on one and the origin serve the other.
 */
export function streamIdOf({
  extensions,
  extensionField,
}: Pick<Handshake, 'extensions' | 'extensionField'>): { readonly text: string } | StreamIdBlockFault {
  const blocks = extensions.filter(({ type }) => type === ExtensionType.streamId)
  const [block] = blocks
  if (block === undefined) return { text: '' }
  if (blocks.length > 1) return 'twice'
  // libsrt looks for it only then.
  if ((extensionField & ExtensionFlag.config) === 0) return 'unflagged'
  if (block.content.length > MAX_STREAM_ID_BYTES) return 'too-long'
  const bytes = reverseWords(block.content)
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1
  const text = bytes.toString('utf8', 0, end)
  // A zero within ends the text for programs in C.
  const isText = !/\p{Cc}/u.test(text) && Buffer.from(text, 'utf8').equals(bytes.subarray(0, end))
  return isText ? { text } : 'not-text'
}

/**
 * The conclusion with another stream id, in the place of the one it has, all else as it was. An empty text takes it away.
 *
 * @param text of at most `MAX_STREAM_ID_BYTES` as UTF-8
 */
export function withStreamId(conclusion: Handshake, text: string): Handshake {
  const length = Buffer.byteLength(text)
  const content = Buffer.alloc((length + 3) & ~3)
  content.write(text)
  const block = { type: ExtensionType.streamId, content: reverseWords(content) }
  const at = conclusion.extensions.findIndex(({ type }) => type === ExtensionType.streamId)
  const others = conclusion.extensions.filter(({ type }) => type !== ExtensionType.streamId)
  if (length === 0) return { ...conclusion, extensions: others }
  return {
    ...conclusion,
    extensionField: conclusion.extensionField | ExtensionFlag.config,
    extensions: at < 0 ? [...others, block] : others.toSpliced(at, 0, block),
  }
}
