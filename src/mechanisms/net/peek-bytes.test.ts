import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { makeCertificate } from './certificate.testkit.ts'
import { closed, ListenerBench } from './listener.testkit.ts'
import { peekBytes } from './peek-bytes.ts'
import { openConnection, readToEnd } from './sockets.testkit.ts'

const timeoutMs = 5000

describe('peekBytes', () => {
  it('shows the first bytes, which stay in the socket', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    dialled.write('hello ')
    expect(Buffer.from((await peekBytes(accepted, 2, { timeoutMs })) ?? []).toString()).toBe('he')
    expect(Buffer.from((await peekBytes(accepted, 3, { timeoutMs })) ?? []).toString()).toBe('hel')
    const all = readToEnd(accepted)
    dialled.end('world')
    expect((await all).toString()).toBe('hello world')
  })

  it('waits for as many as asked', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    const peeked = peekBytes(accepted, 4, { timeoutMs })
    for (const [part, held] of [
      ['a', 1],
      ['bc', 3],
    ] as const) {
      dialled.write(part)
      await expect.poll(() => accepted.readableLength, { interval: 2 }).toBe(held)
    }
    dialled.write('de')
    expect(Buffer.from((await peeked) ?? []).toString()).toBe('abcd')
  })

  it('shows fewer when the peer ends before', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    dialled.end('ab')
    expect(Buffer.from((await peekBytes(accepted, 4, { timeoutMs })) ?? []).toString()).toBe('ab')
    expect((await readToEnd(accepted)).toString()).toBe('ab')

    await using silent = await openConnection()
    silent.dialled.end()
    expect(await peekBytes(silent.accepted, 1, { timeoutMs })).toHaveLength(0)
  })

  it('shows nothing of what closes', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    const peeked = peekBytes(accepted, 1, { timeoutMs })
    dialled.resetAndDestroy()
    expect(await peeked).toBeUndefined()
    expect(await peekBytes(accepted, 1, { timeoutMs })).toBeUndefined()
  })

  it('gives up when the time is over, and leaves the socket as it was', async () => {
    const clock = new ManualClock()
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    const listeners = accepted.eventNames().map((name) => accepted.listenerCount(name))
    const peeked = peekBytes(accepted, 2, { timeoutMs: 100, clock })
    await new Promise((resolve) => dialled.write('a', resolve))
    clock.advance(100)
    expect(await peeked).toBeUndefined()
    expect(accepted.eventNames().map((name) => accepted.listenerCount(name))).toEqual(listeners)
    expect(clock.pending).toBe(0)
    const all = readToEnd(accepted)
    dialled.end('b')
    expect((await all).toString()).toBe('ab')
  })

  it('shows what TLS has decrypted', async () => {
    const certificate = await makeCertificate()
    let all: Promise<string> | undefined
    await using bench = await ListenerBench.start({
      tls: { certificate },
      onConnection: (socket) => {
        all = peekBytes(socket, 2, { timeoutMs }).then(
          async (first) => `${Buffer.from(first ?? []).toString()} ${(await readToEnd(socket)).toString()}`,
        )
      },
    })
    const client = await bench.dialTls({ ca: certificate.cert })
    const gone = closed(client)
    client.end('hello')
    await expect.poll(() => all).toBeDefined()
    expect(await all).toBe('he hello')
    await bench.listener.close()
    await gone
  })
})
