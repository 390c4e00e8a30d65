import { beforeAll, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { makeCertificate, type TestCertificate } from './certificate.testkit.ts'
import type { CertificateSource } from './certificate-source.ts'
import { closed, ListenerBench } from './listener.testkit.ts'
import { ServerContexts } from './server-contexts.ts'
import { TcpListener } from './tcp-listener.ts'

/** Certificates that a test exchanges. */
class TestSource implements CertificateSource {
  certificates: readonly TestCertificate[]
  readonly listeners = new Set<() => void>()
  challenges: Map<string, TestCertificate> = new Map()

  constructor(...certificates: TestCertificate[]) {
    this.certificates = certificates
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  change(...certificates: TestCertificate[]): void {
    this.certificates = certificates
    for (const listener of this.listeners) listener()
  }
}

let first: TestCertificate
let second: TestCertificate
let wild: TestCertificate

beforeAll(async () => {
  first = await makeCertificate(['first.test'])
  second = await makeCertificate(['second.test', 'first.test'])
  wild = await makeCertificate(['*.wild.test'], [])
})

describe('a listener with several certificates', () => {
  it.each([
    ['the first that has the name', 'first.test', 'first.test'],
    ['another', 'second.test', 'second.test'],
    ['one, whatever the case', 'SECOND.test', 'second.test'],
    ['one by a wildcard', 'a.wild.test', '*.wild.test'],
    ['the first, below a wildcard', 'a.b.wild.test', 'first.test'],
    ['the first, above a wildcard', 'wild.test', 'first.test'],
    ['the first to other names', 'other.test', 'first.test'],
    ['the first to who asks for none', '', 'first.test'],
  ])('shows %s', async (_, servername, shown) => {
    await using bench = await ListenerBench.start({
      tls: { certificate: new TestSource(first, second, wild) },
    })
    const client = await bench.dialTls({ servername, rejectUnauthorized: false })
    expect(client.getPeerCertificate().subject.CN).toBe(shown)
  })

  it('follows its source, and old connections go on', async () => {
    const source = new TestSource()
    const listener = new TcpListener({
      listen: { host: '127.0.0.1', port: 0 },
      tls: { certificate: source },
      onConnection: () => {},
    })
    // Listeners are made before their source has started.
    source.certificates = [first]
    await listener.start()
    await listener.close()
    await using started = await ListenerBench.start({ tls: { certificate: source } })
    const old = await started.dialTls({ servername: 'x.test', rejectUnauthorized: false })
    source.change(second, wild)
    const young = await started.dialTls({ servername: 'a.wild.test', rejectUnauthorized: false })
    expect(young.getPeerCertificate().subject.CN).toBe('*.wild.test')
    old.write('still here')
    await expect.poll(() => started.accepted[0]?.received.toString()).toBe('still here')
    await started.listener.close()
    expect(source.listeners.size).toBe(0)
  })

  it('keeps to the least version', async () => {
    const source = Object.assign(new TestSource(first), { minVersion: 'TLSv1.3' as const })
    await using bench = await ListenerBench.start({ tls: { certificate: source } })
    await expect(bench.dialTls({ maxVersion: 'TLSv1.2', rejectUnauthorized: false })).rejects.toThrow()
    await bench.dialTls({ rejectUnauthorized: false })
  })

  it('takes no other certificate by hand', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate: new TestSource(first) } })
    expect(() => bench.listener.setCertificate(second)).toThrow(TypeError)
  })
})

describe('a challenge', () => {
  it('is answered to who asks for nothing else, while all others are served as ever', async () => {
    const source = new TestSource(first)
    source.challenges.set('a.test', second)
    await using bench = await ListenerBench.start({ tls: { certificate: source, alpn: ['http/1.1'] } })
    const shown = async (servername: string, ALPNProtocols: string[]): Promise<unknown[]> => {
      const client = await bench.dialTls({ servername, ALPNProtocols, rejectUnauthorized: false })
      return [client.getPeerCertificate().subject.CN, client.alpnProtocol]
    }
    expect(await shown('a.test', ['acme-tls/1'])).toEqual(['second.test', 'acme-tls/1'])
    await expect.poll(() => bench.listener.connections).toBe(0)
    expect(bench.accepted).toEqual([])
    expect(bench.listener.counts.failedHandshakes).toBe(0)
    expect(await shown('a.test', ['http/1.1'])).toEqual(['first.test', 'http/1.1'])
    expect(await shown('a.test', ['http/1.1', 'acme-tls/1'])).toEqual(['first.test', 'http/1.1'])
    expect((await shown('b.test', ['acme-tls/1']))[0]).toBe('first.test')
    source.challenges.clear()
    expect((await shown('a.test', ['acme-tls/1']))[0]).toBe('first.test')
  })

  it('does not wait for a client that is slow to ask', async () => {
    const source = new TestSource(first)
    source.challenges.set('a.test', second)
    const clock = new ManualClock()
    await using bench = await ListenerBench.start({ tls: { certificate: source }, clock })
    const slow = await bench.dial()
    slow.write(Buffer.from('1603010200', 'hex'))
    await expect.poll(() => bench.listener.unfinished).toBe(1)
    const leaving = await bench.dial()
    leaving.end(Buffer.from('1603010200', 'hex'))
    await closed(leaving)
    const garbage = await bench.dial()
    garbage.write('GET / HTTP/1.1\r\n\r\n')
    await closed(garbage)
    clock.advance(10_000)
    await closed(slow)
    await expect.poll(() => bench.listener.connections).toBe(0)
  })
})

describe('a port of TLS that serves plain connections too', () => {
  it('tells them apart by their first byte', async () => {
    await using bench = await ListenerBench.start({ tls: { certificate: first, servesPlain: true } })
    const plain = await bench.dial()
    plain.write('GET')
    const secure = await bench.dialTls({ rejectUnauthorized: false })
    secure.write('hello')
    await expect
      .poll(() =>
        bench.accepted
          .map(({ received, socket }) => `${String(received)} ${'encrypted' in socket}`)
          .toSorted((a, b) => a.localeCompare(b)),
      )
      .toEqual(['GET false', 'hello true'])
    expect(bench.listener.unfinished).toBe(0)
  })

  it('cuts who says nothing, and lets go of who leaves', async () => {
    const clock = new ManualClock()
    await using bench = await ListenerBench.start({ tls: { certificate: first, servesPlain: true }, clock })
    const silent = await bench.dial()
    const leaving = await bench.dial()
    await expect.poll(() => bench.listener.unfinished).toBe(2)
    leaving.end()
    await closed(leaving)
    clock.advance(10_000)
    await closed(silent)
    await expect.poll(() => [bench.listener.connections, clock.pending]).toEqual([0, 0])
  })
})

it('a thousand connections that say nothing are bounded, also within TLS, and a client gets through', async () => {
  await using bench = await ListenerBench.start({ tls: { certificate: first }, maxUnfinished: 100 })
  const raw: Promise<unknown>[] = []
  for (let i = 0; i < 1000; i++) {
    raw.push(bench.dial().then((socket) => socket.write(Buffer.from('16030102', 'hex'))))
    // A listener accepts in turns; so many at once would be refused by the system, not by us.
    if (i % 100 === 99) await Promise.all(raw)
  }
  await expect.poll(() => bench.listener.counts.displaced).toBe(900)
  expect(bench.listener.unfinished).toBe(100)
  const client = await bench.dialTls({ rejectUnauthorized: false })
  client.write('hello')
  await expect.poll(() => bench.accepted[0]?.received.toString()).toBe('hello')
})

it('needs a certificate', () => {
  expect(() => new ServerContexts([])).toThrow(TypeError)
})
