import { bench, describe } from 'vitest'
import { ChunkReader } from './chunk-reader.ts'
import { ChunkRelay } from './chunk-relay.ts'
import { ChunkWriter } from './chunk-writer.ts'
import { setChunkSizeMessage } from './message.ts'

const readBytes = 16_384

/** A second of video: 60 frames of 10 kB, in reads of 16 KB. */
function frames(chunkSize: number): Buffer[] {
  const writer = new ChunkWriter(chunkSize)
  const frame = { chunkStreamId: 4, type: 9, streamId: 1, timestamp: 0, payload: Buffer.alloc(10_000) }
  const bytes = Buffer.concat(
    Array.from({ length: 60 }, (_, index) => writer.write({ ...frame, timestamp: index * 16 })),
  )
  return Array.from({ length: Math.ceil(bytes.length / readBytes) }, (_, index) =>
    bytes.subarray(index * readBytes, (index + 1) * readBytes),
  )
}

function relay(chunkSize: number, sink: (bytes: Uint8Array) => void): ChunkRelay {
  const near = new ChunkReader()
  near.push(new ChunkWriter().write(setChunkSizeMessage(chunkSize)))
  near.next()
  return new ChunkRelay({ state: near.detach(), outgoingChunkSize: 60_000, sink })
}

describe('600 kB of video in reads of 16 KB', () => {
  const out = Buffer.alloc(65_536)
  let forwarded = 0
  for (const chunkSize of [60_000, 4096, 128]) {
    const reads = frames(chunkSize)
    const toNowhere = relay(chunkSize, (bytes) => (forwarded += bytes.length))
    bench(`relay, incoming chunks of ${chunkSize}`, () => {
      for (const bytes of reads) toNowhere.push(bytes)
    })
  }
  const reads = frames(60_000)
  bench('plain copy', () => {
    for (const bytes of reads) out.set(bytes)
    forwarded += out[0] ?? 0
  })
})
