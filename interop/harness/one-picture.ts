import { FlvReader } from '../../src/protocols/flv/index.ts'
import { MessageType } from '../../src/protocols/rtmp/index.ts'
import { TestClient } from '../../src/services/media/rtmp/rtmp-service.testkit.ts'
import { until } from './until.ts'

/** H.264 as FLV has it: what a decoder needs (here it gets nothing of use), and a key frame. */
const configuration = Buffer.from('1700000000014200', 'hex')
const keyFrame = Buffer.from('1701000000', 'hex')

/** Who sends nothing for long is taken for gone. */
const AGAIN_MS = 5000

/** A publisher that costs next to nothing: a picture of `live/{name}`, which is that name, every few seconds. */
export async function publishPicture(rtmpPort: number, name: string): Promise<TestClient> {
  const client = new TestClient(rtmpPort, { streamName: name })
  const isReady = (): boolean => client.ready !== undefined
  await until(`${name} to be published`, () => isReady() || client.isClosed || client.refusal !== undefined)
  if (client.ready === undefined) {
    throw new Error(`${name} was not published: ${client.refusal?.code ?? 'cut off'}`)
  }
  const { streamId } = client.ready
  let timestamp = 0
  const send = (payload: Buffer): void => {
    client.send({ chunkStreamId: 6, type: MessageType.video, streamId, timestamp, payload })
  }
  const picture = Buffer.concat([keyFrame, Buffer.from(name)])
  send(configuration)
  send(picture)
  const timer = setInterval(() => {
    timestamp += AGAIN_MS
    send(picture)
  }, AGAIN_MS)
  client.socket.once('close', () => clearInterval(timer))
  return client
}

/** What is in the first key frame of a stream by HTTP-FLV: its name, if all is well, else what came instead. */
export async function playPicture(url: string): Promise<string> {
  const abort = new AbortController()
  try {
    const { body, status } = await fetch(url, { signal: abort.signal })
    if (status !== 200) return String(status)
    const reader = new FlvReader()
    for await (const bytes of body ?? []) {
      reader.push(bytes)
      for (let tag = reader.next(); tag; tag = reader.next()) {
        const payload = Buffer.from(tag.payload)
        if (payload.subarray(0, keyFrame.length).equals(keyFrame)) {
          return payload.toString('latin1', keyFrame.length)
        }
      }
    }
    return 'ended'
  } finally {
    abort.abort()
  }
}
