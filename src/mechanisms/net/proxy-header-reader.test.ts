import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { encodeProxyHeader } from '../../protocols/proxy-protocol/index.ts'
import { ConnectionCap } from './connection-cap.ts'
import { closed, ListenerBench } from './listener.testkit.ts'

const addresses = {
  source: { address: '192.0.2.1', port: 56_324 },
  destination: { address: '198.51.100.7', port: 443 },
}
const shown = {
  remoteAddress: '192.0.2.1',
  remotePort: 56_324,
  localAddress: '198.51.100.7',
  localPort: 443,
  isProxied: true,
}
const v1 = encodeProxyHeader({ version: 1, command: 'proxy', addresses })
const v2 = encodeProxyHeader({
  version: 2,
  command: 'proxy',
  addresses,
  alpn: 'stun.turn',
  authority: 'turn.test',
})
const fromBalancer = { proxyProtocolFrom: ['127.0.0.1', '::1'] }
const noFaults = { badProxyHeaders: 0, failedHandshakes: 0, overdue: 0, displaced: 0 }

describe('TcpListener behind balancers', () => {
  it.each([
    ['1', v1, shown],
    ['2', v2, { ...shown, alpn: 'stun.turn', servername: 'turn.test' }],
  ])('shows the client of a header of version %s, and passes on what follows', async (_, header, info) => {
    await using bench = await ListenerBench.start(fromBalancer)
    const client = await bench.dial()
    client.write(Buffer.concat([header, Buffer.from('hello ')]))
    await expect.poll(() => bench.accepted.length).toBe(1)
    client.write('world')
    const [accepted] = bench.accepted
    await expect.poll(() => accepted?.received.toString()).toBe('hello world')

    expect(accepted?.info).toEqual(info)
    expect(accepted?.socket).toMatchObject({
      remoteAddress: '192.0.2.1',
      remotePort: 56_324,
      remoteFamily: 'IPv4',
      localAddress: '198.51.100.7',
      localPort: 443,
    })
    expect(bench.listener.counts).toEqual(noFaults)
    expect(bench.listener.unfinished).toBe(0)
  })

  it('takes a header that comes byte by byte', async () => {
    await using bench = await ListenerBench.start(fromBalancer)
    const client = await bench.dial({ noDelay: true })
    for (const byte of v2) await new Promise((resolve) => client.write(Buffer.of(byte), resolve))
    client.write('hello')
    await expect.poll(() => bench.accepted[0]?.received.toString()).toBe('hello')
    expect(bench.accepted[0]?.info).toMatchObject(shown)
  })

  it.each([
    ['UNKNOWN of version 1', { version: 1, command: 'proxy' }],
    ['LOCAL of version 2', { version: 2, command: 'local' }],
  ] as const)('shows the addresses of the connection itself after %s', async (_, header) => {
    await using bench = await ListenerBench.start(fromBalancer)
    const client = await bench.dial()
    client.write(encodeProxyHeader(header))
    await expect.poll(() => bench.accepted.length).toBe(1)
    expect(bench.accepted[0]?.info).toEqual({
      remoteAddress: '127.0.0.1',
      remotePort: client.localPort,
      localAddress: '127.0.0.1',
      localPort: bench.port,
      isProxied: false,
    })
  })

  it('shows IPv4 plainly, where it comes to a listener of both families and where a header maps it', async () => {
    await using bench = await ListenerBench.start({
      listen: { port: 0 },
      proxyProtocolFrom: ['127.0.0.0/31'],
    })
    const client = await bench.dial()
    client.write('PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6407 56324 443\r\n')
    await expect.poll(() => bench.accepted.length).toBe(1)
    expect(bench.accepted[0]?.info).toEqual(shown)
    await bench.dial({ localAddress: '127.0.0.2' })
    await expect.poll(() => bench.accepted.length).toBe(2)
    expect(bench.accepted[1]?.info).toMatchObject({ remoteAddress: '127.0.0.2', localAddress: '127.0.0.1' })
  })

  it.each([
    ['something else', 'GET / HTTP/1.1\r\n\r\n'],
    ['a malformed header', 'PROXY TCP4 192.0.2.1\r\n'],
    ['a header without end', `PROXY UNKNOWN ${'x'.repeat(200)}`],
  ])('cuts and counts a balancer that sends %s', async (_, text) => {
    await using bench = await ListenerBench.start(fromBalancer)
    const client = await bench.dial()
    client.write(text)
    await closed(client)
    expect(bench.listener.counts).toEqual({ ...noFaults, badProxyHeaders: 1 })
    expect(bench.accepted).toEqual([])
    expect(bench.listener.connections).toBe(0)
  })

  it('counts a balancer that ends within the header, but none that only connects and leaves', async () => {
    await using bench = await ListenerBench.start(fromBalancer)
    const leaving = await bench.dial()
    leaving.end()
    await closed(leaving)
    expect(bench.listener.counts).toEqual(noFaults)
    const breaking = await bench.dial()
    breaking.end('PROXY ')
    await closed(breaking)
    expect(bench.listener.counts).toEqual({ ...noFaults, badProxyHeaders: 1 })
  })

  it('takes the header of a stranger for what the client says', async () => {
    await using bench = await ListenerBench.start(fromBalancer)
    const client = await bench.dial({ localAddress: '127.0.0.2' })
    client.write(v1)
    await expect.poll(() => bench.accepted[0]?.received.length).toBe(v1.length)
    expect(bench.accepted[0]?.info).toMatchObject({ remoteAddress: '127.0.0.2', isProxied: false })
  })

  it('cuts a balancer that is late, and waits no longer than it says', async () => {
    const clock = new ManualClock()
    await using bench = await ListenerBench.start({ ...fromBalancer, clock })
    const late = await bench.dial()
    late.write('PROXY ')
    await expect.poll(() => bench.listener.unfinished).toBe(1)
    clock.advance(2999)
    expect(bench.listener.unfinished).toBe(1)
    clock.advance(1)
    await closed(late)
    expect(bench.listener.counts).toEqual({ ...noFaults, overdue: 1 })

    const quick = await bench.dial()
    quick.write(v1)
    await expect.poll(() => bench.accepted.length).toBe(1)
    expect(clock.pending).toBe(0)
  })

  it('cuts the oldest when too many wait', async () => {
    await using bench = await ListenerBench.start({ ...fromBalancer, maxUnfinished: 2 })
    const [first, second] = [await bench.dial(), await bench.dial()]
    await expect.poll(() => bench.listener.unfinished).toBe(2)
    await bench.dial()
    await closed(first)
    expect(bench.listener.counts).toEqual({ ...noFaults, displaced: 1 })
    second.write(v1)
    await expect.poll(() => bench.accepted.length).toBe(1)
  })

  it('caps the connections of a client, not those of the balancer', async () => {
    const cap = new ConnectionCap({ maxConnectionsPerAddress: 1 })
    await using bench = await ListenerBench.start({ ...fromBalancer, cap })
    const [one, other, again] = [await bench.dial(), await bench.dial(), await bench.dial()]
    one.write('PROXY TCP4 192.0.2.1 198.51.100.7 1 1\r\n')
    other.write('PROXY TCP4 192.0.2.2 198.51.100.7 1 1\r\n')
    await expect.poll(() => bench.accepted.length).toBe(2)
    again.write('PROXY TCP4 192.0.2.1 198.51.100.7 2 1\r\n')
    await closed(again)
    expect(cap.refused).toBe(1)
  })

  it('close cuts at once who has not said all, and lets the others go on', async () => {
    const clock = new ManualClock()
    await using bench = await ListenerBench.start({ ...fromBalancer, clock })
    const ready = await bench.dial()
    ready.write(v1)
    await expect.poll(() => bench.accepted.length).toBe(1)
    const waiting = await bench.dial()
    await expect.poll(() => bench.listener.unfinished).toBe(1)

    const closing = bench.listener.close({ graceMs: 1000 })
    await closed(waiting)
    expect(ready.destroyed).toBe(false)
    ready.destroy()
    bench.accepted[0]?.socket.destroy()
    await closing
    expect(clock.pending).toBe(0)
  })

  it('refuses a range that is none', async () => {
    await expect(ListenerBench.start({ proxyProtocolFrom: ['10.0.0.0/33'] })).rejects.toMatchObject({
      code: 'NET_BAD_RANGE',
    })
  })
})
