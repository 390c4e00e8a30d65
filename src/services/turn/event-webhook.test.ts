import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { createLogger, silentLogger } from '../../mechanisms/telemetry/index.ts'
import type { AllocationInfo } from './allocation-info.ts'
import { EventWebhook, type EventWebhookOptions } from './event-webhook.ts'

/** A request that the service has got and not answered yet. */
interface Post {
  readonly headers: NodeJS.Dict<string | string[]>
  readonly events: readonly { readonly event: string; readonly allocation: { readonly id: string } }[]
  readonly response: ServerResponse
}

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(options: Partial<EventWebhookOptions> = {}) {
  const posts: Post[] = []
  const waiting: (() => void)[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { events } = JSON.parse(Buffer.concat(chunks).toString()) as Pick<Post, 'events'>
      posts.push({ headers: request.headers, events, response })
      for (const wake of waiting.splice(0)) wake()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const clock = new ManualClock()
  const url = `http://127.0.0.1:${port}/turn`
  const webhook = new EventWebhook({ url, logger: silentLogger(), clock, ...options })
  closers.push(async () => {
    await webhook.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  /** The request of this number, from 0. */
  const post = async (index: number): Promise<Post> => {
    for (;;) {
      const found = posts[index]
      if (found !== undefined) return found
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
  }
  const answer = async (index: number, status = 204): Promise<readonly string[]> => {
    const { events, response } = await post(index)
    response.writeHead(status).end()
    return events.map(({ allocation }) => allocation.id)
  }
  return { webhook, clock, posts, post, answer, retried: () => until(() => clock.pending > 0) }
}

/** Waits for what another turn of the event loop brings. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

function allocation(id: string | number): AllocationInfo {
  return {
    id: String(id),
    userId: 'alice',
    username: 'alice',
    realm: 'sluice',
    listener: 'udp',
    transport: 'udp',
    client: '192.0.2.1:4000',
    relayTransport: 'udp',
    relayed: ['198.51.100.1:50000'],
    peers: [],
    sinceMs: 0,
    expiresAtMs: 600_000,
    sent: { packets: 3, bytes: 300 },
    received: { packets: 2, bytes: 200 },
    peerTraffic: [],
    dropped: 0,
  }
}

function create({ webhook }: { readonly webhook: EventWebhook }, ...ids: (string | number)[]): void {
  for (const id of ids) webhook.events.allocationCreated?.(allocation(id))
}

function range(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => String(from + i))
}

describe('EventWebhook', () => {
  it('tells of what happens, with time, reason and usage, and its token', async () => {
    const kit = await open({ token: 't0ken' })
    const { events } = kit.webhook
    events.allocationCreated?.(allocation('a'))
    events.allocationRefreshed?.(allocation('a'))
    events.allocationDeleted?.(allocation('a'), 'released')
    const first = await kit.post(0)
    expect(first.headers).toMatchObject({ 'content-type': 'application/json', authorization: 'Bearer t0ken' })
    const time = '2026-01-01T00:00:00.000Z'
    expect(first.events).toEqual([{ event: 'allocation-created', time, allocation: allocation('a') }])
    await kit.answer(0)
    expect((await kit.post(1)).events).toEqual([
      { event: 'allocation-refreshed', time, allocation: allocation('a') },
      { event: 'allocation-deleted', time, reason: 'released', allocation: allocation('a') },
    ])
    await kit.answer(1)
  })

  it('sends one request at a time, in order, with up to 100 events', async () => {
    const kit = await open()
    create(kit, ...range(1, 250))
    expect(await kit.answer(0)).toEqual(['1'])
    expect(await kit.answer(1)).toEqual(range(2, 101))
    await kit.post(2)
    expect(kit.posts).toHaveLength(3)
    expect(await kit.answer(2)).toEqual(range(102, 201))
    expect(await kit.answer(3)).toEqual(range(202, 250))
  })

  it.for([500, 404, 302])('sends the same again after %i, and waits longer each time', async (status) => {
    const kit = await open({ retryMs: 1000 })
    create(kit, 'a')
    for (const [index, delayMs] of [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000].entries()) {
      const again = ['a', ...range(0, index - 1).map((earlier) => `later ${earlier}`)]
      expect(await kit.answer(index, status)).toEqual(again)
      await kit.retried()
      create(kit, `later ${index}`)
      kit.clock.advance(delayMs - 1)
      expect(kit.clock.pending).toBe(1)
      kit.clock.advance(1)
    }
    await kit.answer(7)
    // Good again: the next failure starts from the beginning.
    await until(() => kit.clock.pending === 0)
    create(kit, 'b')
    expect(await kit.answer(8, status)).toEqual(['b'])
    await kit.retried()
    kit.clock.advance(1000)
    expect(await kit.answer(9)).toEqual(['b'])
  })

  it('sends again what had no answer in time', async () => {
    const late = new AbortController()
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(late.signal)
    onTestFinished(() => timeout.mockRestore())
    const kit = await open({ timeoutMs: 30 })
    create(kit, 'a')
    await kit.post(0)
    expect(timeout).toHaveBeenLastCalledWith(30)
    late.abort(new DOMException('late', 'TimeoutError'))
    await kit.retried()
    kit.clock.advance(500)
    expect(await kit.answer(1)).toEqual(['a'])
  })

  it('writes one line for an outage, and one for its end', async () => {
    const lines: string[] = []
    const logger = createLogger({ stream: { write: (line) => void lines.push(line) } })
    const kit = await open({ logger })
    create(kit, 'a')
    for (const index of [0, 1, 2]) {
      await kit.answer(index, 503)
      await kit.retried()
      kit.clock.advance(32_000)
    }
    await kit.answer(3)
    await until(() => lines.length === 2)
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      'events are not taken',
      'events are taken again',
    ])
  })

  it('loses the oldest that are not on their way, and counts them', async () => {
    const kit = await open({ maxWaiting: 5 })
    create(kit, 'a')
    await kit.answer(0, 503)
    await kit.retried()
    create(kit, 'b')
    kit.clock.advance(500)
    await kit.post(1)
    // Two of them are on their way.
    create(kit, 1, 2, 3, 4, 5)
    expect(kit.webhook.lost).toBe(2)
    expect(await kit.answer(1, 503)).toEqual(['a', 'b'])
    await kit.retried()
    kit.clock.advance(1000)
    expect(await kit.answer(2, 503)).toEqual(['a', 'b', '3', '4', '5'])
    await kit.retried()
    // None is.
    create(kit, 7, 8, 9, 10, 11)
    expect(kit.webhook.lost).toBe(7)
    kit.clock.advance(2000)
    expect(await kit.answer(3)).toEqual(range(7, 11))
  })

  it('sends what waits before it is closed, and nothing after', async () => {
    const kit = await open()
    create(kit, 'a', 'b', 'c')
    const closed = kit.webhook.close()
    expect(await kit.answer(0)).toEqual(['a'])
    expect(await kit.answer(1)).toEqual(['b', 'c'])
    await closed
    create(kit, 'd')
    expect(kit.posts).toHaveLength(2)
    expect(kit.clock.pending).toBe(0)
    await kit.webhook.close()
  })

  it('waits no longer than a second when it is closed', async () => {
    const kit = await open({ timeoutMs: 4000 })
    create(kit, 'a')
    await kit.post(0)
    const closed = kit.webhook.close()
    kit.clock.advance(4000)
    await closed
  })

  it('does not wait at all for a service that is away', async () => {
    const kit = await open()
    create(kit, 'a')
    await kit.answer(0, 503)
    await kit.retried()
    await kit.webhook.close()
    expect(kit.clock.pending).toBe(0)
    expect(kit.webhook.lost).toBe(1)
  })

  it('does not go on waiting when the service fails while it is closed', async () => {
    const kit = await open()
    create(kit, 'a')
    await kit.post(0)
    const closed = kit.webhook.close()
    await kit.answer(0, 503)
    await closed
    expect(kit.clock.pending).toBe(0)
  })
})
