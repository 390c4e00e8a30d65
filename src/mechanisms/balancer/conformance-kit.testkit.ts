import { vi } from 'vitest'
import type { BalancerStore, Hold, OriginAnnouncement, OriginId, Stream } from './contract.ts'
import type { AppRule } from './placement.ts'
import type { PolicyName } from './policy.ts'
import { streamKeyOf, type StreamKey } from './stream-key.ts'

/** What the suite asks of a store under test; times in milliseconds. */
export interface ConformanceSettings {
  readonly policy: PolicyName
  readonly zone?: string
  readonly apps?: readonly AppRule[]
  readonly heartbeatTtlMs: number
  readonly suspectMs: number
  readonly pickIdleMs: number
  readonly sessionTtlMs: number
  readonly hlsTtlMs: number
}

/** A store under test. Effects may be seen late; time moves by the handle only. */
export interface StoreUnderTest {
  readonly store: BalancerStore
  readonly advance: (ms: number) => Promise<void>
  close(): Promise<void>
}

export const SETTINGS: ConformanceSettings = {
  policy: 'random',
  heartbeatTtlMs: 300_000,
  suspectMs: 10_000,
  pickIdleMs: 600_000,
  sessionTtlMs: 120_000,
  hlsTtlMs: 120_000,
}

/** An announcement of an origin that offers everything but SRT. */
export function announcement(name: string, given: Partial<OriginAnnouncement> = {}): OriginAnnouncement {
  return {
    ip: '127.0.0.1',
    server: `server-${name}`,
    service: 'service',
    pid: '1',
    rtmp: [1935],
    http: [8080],
    api: [1985],
    srt: [],
    rtc: [8000],
    ...given,
  }
}

/** Opens a store that is closed after the test; settings that are not given are `SETTINGS`. */
export type Open = (settings?: Partial<ConformanceSettings>) => Promise<StoreUnderTest>

export function key(stream: string): StreamKey {
  return streamKeyOf('', 'live', stream)
}

/** Origins `0`, `1` ... with RTMP ports from 2000. */
export async function announce(store: BalancerStore, count: number): Promise<readonly OriginId[]> {
  const made: OriginId[] = []
  for (let at = 0; at < count; at++)
    made.push(await store.announce(announcement(`${at}`, { rtmp: [2000 + at] })))
  return made
}

export async function publish(
  store: BalancerStore,
  key: StreamKey,
  avoid: readonly OriginId[] = [],
): Promise<{ readonly id: OriginId; readonly hold: Hold }> {
  const claim = await store.pick(key, 'rtmp', { role: 'publish', avoid })
  return { id: claim.origin.id, hold: await claim.keep() }
}

export async function stream(store: BalancerStore, key: StreamKey): Promise<Stream | undefined> {
  return (await store.streams()).find((kept) => kept.key === key)
}

export async function stateOf(store: BalancerStore, id: OriginId): Promise<string | undefined> {
  return (await store.list()).find((origin) => origin.id === id)?.state
}

export async function ids(store: BalancerStore): Promise<OriginId[]> {
  return (await store.list()).map(({ id }) => id)
}

export function id(known: OriginId | undefined): OriginId {
  if (known === undefined) throw new Error('no such origin')
  return known
}

export async function eventually(check: () => Promise<void>): Promise<void> {
  await vi.waitFor(check, { timeout: 15_000, interval: 10 })
}
