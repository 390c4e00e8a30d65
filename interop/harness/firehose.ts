import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** An origin of HTTP-FLV that sends as fast as it is read: for what holds viewers back. */
export interface Firehose extends AsyncDisposable {
  /** Its entry in `origins`. */
  readonly config: object
}

const TAG_BYTES = 8 * 1024

export async function startFirehose(): Promise<Firehose> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'video/x-flv')
    // FLV 1, with video only, and the size of the tag before the first.
    response.write(Buffer.from('464c5601010000000900000000', 'hex'))
    pour(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    config: {
      name: 'firehose',
      kind: 'custom',
      check: false,
      urls: { flv: `http://127.0.0.1:${port}/{app}/{stream}.flv` },
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function pour(response: ServerResponse): void {
  let timeMs = 0
  const more = (): void => {
    do timeMs += 40
    while (response.write(tagAt(timeMs)))
  }
  response.on('drain', more)
  more()
}

/** An inter frame in H.263, which needs no sequence header. */
function tagAt(timeMs: number): Buffer {
  const tag = Buffer.alloc(11 + TAG_BYTES + 4)
  tag[0] = 9
  tag.writeUIntBE(TAG_BYTES, 1, 3)
  tag.writeUIntBE(timeMs & 0xff_ffff, 4, 3)
  tag[7] = timeMs >>> 24
  tag[11] = 0x22
  tag.writeUInt32BE(11 + TAG_BYTES, 11 + TAG_BYTES)
  return tag
}
