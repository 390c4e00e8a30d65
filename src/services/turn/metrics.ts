import { Counter, Gauge, type Registry } from '../../mechanisms/telemetry/index.ts'
import type { DataDropReason } from './core/data-plane.ts'
import { DETOUR_REFUSALS, type DetourRefusal } from './core/detours.ts'
import type { TurnStats } from './core/turn-stats.ts'
import type { ConnectionRefusal } from './listeners/listener.ts'
import type { ListenerStats } from './listener-stats.ts'

/** What the server knows when metrics are read. */
export interface TurnCounts {
  readonly stats: TurnStats
  readonly dataDropped: Readonly<Record<DataDropReason, number>>
  /** Requests of strangers that were not answered. */
  readonly unanswered: number
  readonly connectionRefusals: Readonly<Record<ConnectionRefusal, number>>
  readonly listeners: readonly ListenerStats[]
  /** Clients that are led to other servers of the fleet: how many at present, and since the start. */
  readonly detours: {
    readonly size: number
    readonly proved: number
    readonly refused: Readonly<Record<DetourRefusal, number>>
  }
}

/** Declares the metric of the event webhook, whichever it is at the time. */
export function registerEventMetrics(registry: Registry, lost: () => number): void {
  void new Counter({
    name: 'sluice_turn_events_lost_total',
    help: 'Events of allocations that were not delivered because the service that follows them was away for too long.',
    registers: [registry],
    collect() {
      this.reset()
      this.inc(lost())
    },
  })
}

/** Declares the metrics of a running TURN server. Gives what takes them away again. */
export function registerTurnMetrics(registry: Registry, counts: () => TurnCounts): () => void {
  const names: string[] = []
  const registers = [registry]
  const named = <T extends string>(name: T): T => {
    names.push(name)
    return name
  }
  void new Gauge({
    name: named('sluice_turn_allocations'),
    help: 'Live allocations, by listener.',
    labelNames: ['listener'],
    registers,
    collect() {
      this.reset()
      for (const { name, connections } of counts().listeners) this.set({ listener: name }, connections)
    },
  })
  void new Counter({
    name: named('sluice_turn_allocations_created_total'),
    help: 'Allocations that were made.',
    registers,
    collect() {
      this.reset()
      this.inc(counts().stats.created)
    },
  })
  void new Counter({
    name: named('sluice_turn_allocations_ended_total'),
    help: 'Allocations that have ended, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(counts().stats.ended)) this.inc({ reason }, count)
    },
  })
  void new Counter({
    name: named('sluice_turn_answers_total'),
    help: 'Answers to requests, by method and result: success, or the code of the error.',
    labelNames: ['method', 'result'],
    registers,
    collect() {
      this.reset()
      for (const [key, count] of counts().stats.answers) {
        const [method = '', result = ''] = key.split(' ')
        this.inc({ method, result }, count)
      }
    },
  })
  void new Counter({
    name: named('sluice_turn_unanswered_requests_total'),
    help: 'Requests of strangers that got no answer because too many came from their network, or in all.',
    registers,
    collect() {
      this.reset()
      this.inc(counts().unanswered)
    },
  })
  void new Counter({
    name: named('sluice_turn_connections_refused_total'),
    help: 'TCP and TLS connections of clients that came to nothing, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(counts().connectionRefusals)) this.inc({ reason }, count)
    },
  })
  void new Counter({
    name: named('sluice_turn_malformed_messages_total'),
    help: 'Messages of clients that are neither STUN nor ChannelData, or broken.',
    registers,
    collect() {
      this.reset()
      this.inc(counts().stats.malformed)
    },
  })
  void new Counter({
    name: named('sluice_turn_dropped_messages_total'),
    help: 'Data that was not relayed, of what no flow carries, by reason.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(counts().dataDropped)) this.inc({ reason }, count)
    },
  })
  void new Gauge({
    name: named('sluice_turn_detours'),
    help: 'Clients that have moved here and are led to the server where their allocation lives, those included that nothing is proved of yet.',
    registers,
    collect() {
      this.set(counts().detours.size)
    },
  })
  void new Counter({
    name: named('sluice_turn_detours_opened_total'),
    help: 'Clients that have moved here and were taken on by the server where their allocation lives.',
    registers,
    collect() {
      this.reset()
      this.inc(counts().detours.proved)
    },
  })
  void new Counter({
    name: named('sluice_turn_detours_refused_total'),
    help: 'Requests with a ticket of another server that were not led there: over a limit, or no socket could be opened.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const reason of DETOUR_REFUSALS) this.inc({ reason }, counts().detours.refused[reason])
    },
  })
  for (const [unit, what] of [
    ['packets', 'Messages'],
    ['bytes', 'Bytes of messages'],
  ] as const) {
    void new Counter({
      name: named(`sluice_turn_listener_${unit}_total`),
      help: `${what} between clients and a listener; rx came from clients.`,
      labelNames: ['listener', 'direction'],
      registers,
      collect() {
        this.reset()
        for (const { name, rx, tx } of counts().listeners) {
          this.inc({ listener: name, direction: 'rx' }, rx[unit])
          this.inc({ listener: name, direction: 'tx' }, tx[unit])
        }
      },
    })
  }
  return () => {
    for (const name of names) registry.removeSingleMetric(name)
  }
}
