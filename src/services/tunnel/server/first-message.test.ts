import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { type MemoryStream, memoryStreamPair } from '../../../mechanisms/streams/memory-stream.testkit.ts'
import { encodeMessage, helloFrame, V2_MAGIC, type WireVersion } from '../../../protocols/frp/index.ts'
import { readFirstMessage } from './first-message.ts'

function make(chunkBytes = 65_536) {
  const clock = new ManualClock()
  const [far, near] = memoryStreamPair({ chunkBytes })
  return { clock, far, near, first: readFirstMessage(near, clock) }
}

function said(version: WireVersion): Buffer {
  const message = encodeMessage(version, 'NewWorkConn', { run_id: 'r' })
  return version === 'v1' ? message : Buffer.concat([V2_MAGIC, message])
}

/** What is read behind the first message. */
async function restOf(stream: ReturnType<Awaited<ReturnType<typeof readFirstMessage>>['channel']['detach']>) {
  return new Promise<string>((resolve) => {
    let text = ''
    stream.attach({
      onBytes: (bytes) => {
        text += Buffer.from(bytes).toString()
        return true
      },
      onEnd: () => resolve(text),
      onDrain: nothing,
      onClose: nothing,
    })
    stream.resume()
  })
}

describe('the first message', () => {
  test.each([
    ['v1', 1],
    ['v1', 65_536],
    ['v2', 1],
    ['v2', 3],
    ['v2', 65_536],
  ] as const)(
    'of %s in pieces of %d is read, and what comes behind it is left',
    async (version, chunkBytes) => {
      const { clock, far, first } = make(chunkBytes)
      far.write(Buffer.concat([said(version), Buffer.from('payload')]))
      far.end()
      const { channel, message } = await first
      expect([channel.version, message.name]).toEqual([version, 'NewWorkConn'])
      expect(message.body).toMatchObject({ run_id: 'r' })
      expect(clock.pending).toBe(0)
      expect(await restOf(channel.detach())).toBe('payload')
    },
  )

  test.each([1, 65_536])('of v2 may come behind a hello (pieces of %d)', async (chunkBytes) => {
    const { far, first } = make(chunkBytes)
    const hello = helloFrame('client', Buffer.from('{"a":1}'))
    far.write(Buffer.concat([V2_MAGIC, hello, encodeMessage('v2', 'Login', { user: 'u' })]))
    const { clientHello, message } = await first
    expect([clientHello?.toString(), message.name]).toEqual(['{"a":1}', 'Login'])
  })

  test('must come in ten seconds, however slowly a peer speaks', async () => {
    const { clock, far, near, first } = make()
    first.catch(nothing)
    for (const byte of said('v1').subarray(0, 9)) {
      clock.advance(1000)
      far.write(Buffer.of(byte))
      await Promise.resolve()
    }
    expect(near.isClosed).toBe(false)
    clock.advance(1000)
    await expect(first).rejects.toMatchObject({ code: 'TUNNEL_TIMEOUT' })
    expect([near.isClosed, clock.pending]).toEqual([true, 0])
  })

  const broken: [string, (far: MemoryStream) => void][] = [
    ['the peer ends before it', (far) => far.end()],
    ['the peer ends within it', (far) => (far.write(said('v1').subarray(0, 5)), far.end())],
    ['the peer ends within the magic', (far) => (far.write(V2_MAGIC.subarray(0, 3)), far.end())],
    ['the peer breaks off', (far) => far.destroy(new Error('broke'))],
    ['it has no type of frp', (far) => far.write(Buffer.from('zzzzzzzzzzzz'))],
    ['it is too long', (far) => far.write(Buffer.from('6f00000000000fffff7b7d', 'hex'))],
    ['it is no JSON', (far) => far.write(Buffer.from('6f00000000000000027b7b', 'hex'))],
  ]
  test.each(broken)('cannot be had: %s', async (_, speak) => {
    const { clock, far, near, first } = make()
    first.catch(nothing)
    speak(far)
    await expect(first).rejects.toBeInstanceOf(Error)
    expect([near.isClosed, clock.pending]).toEqual([true, 0])
  })
})

function nothing(): void {}
