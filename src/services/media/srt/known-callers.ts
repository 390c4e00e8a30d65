import type { Datapath, EndpointId, FlowId, MeterId, Remote } from '../../../mechanisms/datapath/index.ts'
import { ControlWord } from '../../../protocols/srt/index.ts'
import type { Session } from './session.ts'

/** Handshakes and shutdowns of one address that are looked at; a caller sends a few in all. */
const controlBudget = { packetsPerSecond: 20, burstSeconds: 2 }

interface KnownCaller {
  readonly flows: readonly FlowId[]
  readonly meter: MeterId
  /** By the socket id of the origin. */
  readonly sessions: Map<number, Session>
}

/**
 * Addresses that have sessions. Each has two flows more than its sessions do, which hand its handshakes and shutdowns to
 * TypeScript. They match on the first word, and are added before those of sessions, which match on a socket id: what two
 * matches hold for goes to the offset that was there first. So one port of a caller may have several sessions.
 */
export class KnownCallers {
  readonly #datapath: Datapath
  readonly #callers = new Map<string, KnownCaller>()

  constructor(datapath: Datapath) {
    this.#datapath = datapath
  }

  /** The session to which a packet from this address, for this socket, belongs. */
  find(endpoint: EndpointId, remote: Remote, originSocket: number): Session | undefined {
    return this.#callers.get(keyOf(endpoint, remote))?.sessions.get(originSocket)
  }

  /** Knows an address by this session until it is removed. Comes before the session's own flow. */
  add(session: Session, originSocket: number): void {
    const { endpoint, address, port } = session.caller
    const remote = { address, port }
    const key = keyOf(endpoint, remote)
    let known = this.#callers.get(key)
    if (known === undefined) {
      const meter = this.#datapath.openMeter(controlBudget)
      known = { flows: controlFlows(this.#datapath, endpoint, remote, [meter]), meter, sessions: new Map() }
      this.#callers.set(key, known)
    }
    known.sessions.set(originSocket, session)
  }

  /** Comes after the session's own flow was removed. */
  remove({ caller }: Session, originSocket: number): void {
    const key = keyOf(caller.endpoint, caller)
    const known = this.#callers.get(key)
    known?.sessions.delete(originSocket)
    if (known === undefined || known.sessions.size > 0) return
    this.#callers.delete(key)
    for (const flow of known.flows) this.#datapath.removeFlow(flow)
    this.#datapath.closeMeter(known.meter)
  }
}

/** Flows that hand the handshakes and shutdowns of a remote to TypeScript. */
export function controlFlows(
  datapath: Datapath,
  endpoint: EndpointId,
  remote: Remote,
  meters: readonly MeterId[] = [],
): readonly FlowId[] {
  return [ControlWord.handshake, ControlWord.shutdown].map((value) =>
    datapath.addFlow({ kind: 'deliver', from: { endpoint, remote, match: { offset: 0, value } }, meters }),
  )
}

function keyOf(endpoint: EndpointId, { address, port }: Remote): string {
  return `${endpoint} ${address} ${port}`
}
