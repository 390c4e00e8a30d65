import type {
  AllocationInfo,
  ListenerStats,
  TurnServerChanges,
  TurnServerOptions,
} from '../../services/turn/index.ts'
import type { ConfigSource } from './config-source.ts'
import { createScopedLogger, type ScopedLogger } from './scoped-logger.ts'
import { selfSigned } from './self-signed.ts'
import type { TurnDataplane } from './turn-dataplane.ts'

/** Two pairs, so that one can be put in place of the other. */
export const testCertificate: { readonly cert: string; readonly key: string } = await selfSigned()
export const otherCertificate: { readonly cert: string; readonly key: string } = await selfSigned()

/** A configuration text with the health endpoint on a free loopback port. */
export function configText(changes: Record<string, unknown> = {}): string {
  const { admin, ...rest } = changes
  return JSON.stringify({
    version: 'v1',
    admin: { name: 'ns/gw', healthcheck_endpoint: 'http://127.0.0.1:0', ...(admin as object | undefined) },
    auth: { credentials: { username: 'u', password: 'p' } },
    listeners: [{ name: 'udp', address: '127.0.0.1', port: 3478, routes: ['media'] }],
    clusters: [{ name: 'media', endpoints: ['10.0.0.0/8'] }],
    ...rest,
  })
}

/** A TLS listener as it is written. */
export function selfSignedListener(
  pair: { readonly cert: string; readonly key: string },
  changes: Record<string, unknown> = {},
): Record<string, unknown> {
  const [cert, key] = [pair.cert, pair.key].map((text) => Buffer.from(text).toString('base64'))
  return {
    name: 'tls',
    protocol: 'tls',
    address: '127.0.0.1',
    port: 5349,
    cert,
    key,
    routes: ['media'],
    ...changes,
  }
}

/** A relay without sockets that writes down what it is told. */
export class FakeServer implements TurnDataplane {
  readonly options: TurnServerOptions
  readonly updates: TurnServerChanges[] = []
  readonly calls: string[] = []
  allocations: AllocationInfo[] = []
  stats: ListenerStats[] = []
  failure: Error | undefined
  restarted: string[] = []
  #drained: (() => void) | undefined

  constructor(options: TurnServerOptions) {
    this.options = options
  }

  get allocationCount(): number {
    return this.allocations.length
  }

  get last(): TurnServerChanges {
    return this.updates.at(-1) ?? {}
  }

  listAllocations(): readonly AllocationInfo[] {
    return this.allocations
  }

  listenerStats(): readonly ListenerStats[] {
    return this.stats
  }

  async start(): Promise<void> {
    this.calls.push('start')
  }

  async update(changes: TurnServerChanges): Promise<{ restarted: readonly string[] }> {
    if (this.failure !== undefined) throw this.failure
    this.updates.push(changes)
    return { restarted: this.restarted }
  }

  async close({ graceMs = 0 }: { graceMs?: number } = {}): Promise<void> {
    this.calls.push(`close ${graceMs}`)
    if (graceMs === 0 || this.allocations.length === 0) return
    await new Promise<void>((resolve) => {
      this.#drained = resolve
    })
  }

  /** The last allocation has gone. */
  drain(): void {
    this.allocations = []
    this.#drained?.()
  }
}

/** A source that a test speaks through. */
export class FakeSource implements ConfigSource {
  readonly name = 'test'
  text = ''
  deliver: ((text: string) => void) | undefined
  isStopped = false

  constructor(text = '') {
    this.text = text
  }

  async load(): Promise<string> {
    return this.text
  }

  watch(deliver: (text: string) => void): () => void {
    this.deliver = deliver
    return () => {
      this.isStopped = true
    }
  }
}

/** A log that is kept. */
export function keptLog(levels = 'all:DEBUG'): ScopedLogger & { readonly lines: string[] } {
  const lines: string[] = []
  return {
    ...createScopedLogger({ format: 'text', levels, stream: { write: (line) => lines.push(line) } }),
    lines,
  }
}

export function allocationInfo(changes: Partial<AllocationInfo> = {}): AllocationInfo {
  return {
    id: 'a1',
    userId: 'u',
    username: 'u',
    realm: 'r',
    listener: 'udp',
    transport: 'udp',
    client: '192.0.2.1:5000',
    relayTransport: 'udp',
    relayed: ['127.0.0.1:50000'],
    peers: [],
    sinceMs: 0,
    expiresAtMs: 0,
    sent: { packets: 0, bytes: 0 },
    received: { packets: 0, bytes: 0 },
    peerTraffic: [],
    dropped: 0,
    ...changes,
  }
}
