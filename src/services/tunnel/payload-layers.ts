import { randomBytes } from 'node:crypto'
import type { ByteStream } from '../../foundation/byte-stream.ts'
import { codecStream } from '../../mechanisms/streams/index.ts'
import { cfbCodec } from '../../protocols/frp/index.ts'
import { snappyCodec } from '../../protocols/snappy/index.ts'

/** What is done to the payload of a work or visitor connection. */
export interface PayloadLayers {
  /** `cfbKey` of the token or the secret key; undefined: not encrypted. */
  readonly key: Uint8Array | undefined
  readonly isCompressed: boolean
}

/** Puts the layers on a connection in frp's order: compressed first, then encrypted (reference §17). */
export function payloadLayers(connection: ByteStream, { key, isCompressed }: PayloadLayers): ByteStream {
  const encrypted = key === undefined ? connection : codecStream(connection, cfbCodec(key, randomBytes(16)))
  return isCompressed ? codecStream(encrypted, snappyCodec()) : encrypted
}
