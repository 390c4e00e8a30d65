import type { ClientView } from './contract.ts'

/** A client as the books have it: online, or known by its client id from before. */
export interface ClientRecord {
  /** `user.clientId`, or with the run id where there is no client id; without user the id alone. */
  readonly key: string
  readonly user: string
  /** Empty: the client has none, and is forgotten when it goes, as is one whose texts are very long. */
  readonly clientId: string
  /** Empty: it is offline. */
  readonly runId: string
  readonly version: string
  readonly wireProtocol: string
  readonly hostname: string
  readonly address: string
  readonly firstConnectedAtMs: number
  readonly lastConnectedAtMs: number
  readonly disconnectedAtMs: number | undefined
}

/**
 * Clients choose what they are called: those whose texts are longer than this together, in characters, are not kept, so
 * that memory is not theirs to fill.
 */
const MAX_TEXT = 512

/** Whether one is kept when it is offline. */
export function isRemembered({ clientId, ...record }: ClientRecord): boolean {
  return clientId !== '' && textLength(clientId, ...Object.values(record)) <= MAX_TEXT
}

/** Of the texts among the values. */
function textLength(...values: readonly unknown[]): number {
  return values.reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 0), 0)
}

/** The clients that are online, and those with a client id that were. */
export class ClientRecords {
  readonly #maxOffline: number
  readonly #byKey = new Map<string, ClientRecord>()
  readonly #keyByRunId = new Map<string, string>()
  /** Keys, the longest gone first. */
  readonly #offline = new Set<string>()

  constructor(maxOffline: number) {
    this.#maxOffline = maxOffline
  }

  get online(): number {
    return this.#keyByRunId.size
  }

  list(): readonly ClientRecord[] {
    return [...this.#byKey.values()]
  }

  get(key: string): ClientRecord | undefined {
    return this.#byKey.get(key)
  }

  add(client: ClientView): void {
    const { user, clientId, runId, version, wireVersion, hostname, address } = client
    // With other names than before.
    this.leave(runId, client.connectedAtMs)
    const key = [user, clientId || runId].filter((part) => part !== '').join('.')
    const before = this.#byKey.get(key)
    if (before !== undefined) this.#keyByRunId.delete(before.runId)
    this.#offline.delete(key)
    this.#keyByRunId.set(runId, key)
    this.#byKey.set(key, {
      key,
      user,
      clientId,
      runId,
      version,
      wireProtocol: wireVersion,
      hostname,
      address,
      firstConnectedAtMs: before?.firstConnectedAtMs ?? client.connectedAtMs,
      lastConnectedAtMs: client.connectedAtMs,
      disconnectedAtMs: undefined,
    })
  }

  leave(runId: string, wallMs: number): void {
    const key = this.#keyByRunId.get(runId)
    const record = key === undefined ? undefined : this.#byKey.get(key)
    if (record === undefined) return
    this.#keyByRunId.delete(runId)
    if (isRemembered(record)) this.remember({ ...record, runId: '', disconnectedAtMs: wallMs })
    else this.#byKey.delete(record.key)
  }

  /** Keeps one that is offline; beyond the bound the one that went first is forgotten. */
  remember(record: ClientRecord): void {
    this.#byKey.set(record.key, record)
    this.#offline.add(record.key)
    const [first] = this.#offline
    if (this.#offline.size <= this.#maxOffline || first === undefined) return
    this.#offline.delete(first)
    this.#byKey.delete(first)
  }
}
