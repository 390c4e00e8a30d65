import type { CommandName } from './commands.ts'
import type { FleetShape } from './fleet-shape.ts'
import type { Periods } from './periods.ts'

/** One thing that all gateways together do, again and again. */
export interface Rate {
  readonly what: string
  readonly command: CommandName
  readonly perSecond: number
  /** Commands in one write, on average: whatever a gateway does in one turn leaves together. */
  readonly together: number
  /** How many times the bytes and the time of what was measured, where that was for another size. @defaultValue 1 */
  readonly scale?: number
  /** Its key is one for the whole fleet: in a Cluster one server has all of it. */
  readonly isHot?: boolean
  /** Messages that are handed out for each. */
  readonly deliveries?: number
}

/** What a fleet holds, from its shape. */
export interface Holdings {
  readonly streams: number
  /** Streams times the gateways that use them. */
  readonly uses: number
  readonly usesPerStream: number
  readonly webrtcSessions: number
  /** New sessions per second. */
  readonly sessionsPerSecond: number
  /** New uses per second: where a gateway had nothing to do with the stream before. */
  readonly usesPerSecond: number
}

export function holdingsOf(shape: FleetShape): Holdings {
  const { gateways, sessions, sessionMinutes, perStream, webrtcShare } = shape
  const streams = sessions / perStream
  // A balancer of connections sends each session anywhere.
  const usesPerStream = gateways * (1 - (1 - 1 / gateways) ** perStream)
  const sessionsPerSecond = sessions / (sessionMinutes * 60)
  return {
    streams,
    uses: streams * usesPerStream,
    usesPerStream,
    webrtcSessions: sessions * webrtcShare,
    sessionsPerSecond,
    // Nobody else of the stream is at the gateway.
    usesPerSecond: sessionsPerSecond * (1 - 1 / gateways) ** (perStream - 1),
  }
}

/** What `MEASURED` was filled with, for what costs more the more there is. */
export interface MeasuredSizes {
  readonly origins: number
  readonly gateways: number
}

/** All that goes to Redis when nothing goes wrong. Kinds and times are those of the code. */
export function ratesOf(shape: FleetShape, periods: Periods, measured: MeasuredSizes): readonly Rate[] {
  const { gateways, origins, heartbeatSeconds, movedShare } = shape
  const held = holdingsOf(shape)
  const started = held.sessionsPerSecond * shape.webrtcShare
  const moved = started * movedShare * (1 - 1 / gateways)
  // Whoever takes a session over uses its stream, and the other one no longer does.
  const newUses = held.usesPerSecond * (1 + shape.webrtcShare * movedShare)
  const renewed = held.webrtcSessions / (periods.sessionRenewMs / 1000)
  // Those of one second leave in one turn.
  const renewedTogether = Math.max(1, renewed / gateways)
  const usesRenewed = held.uses / (periods.useRenewMs / 1000)
  const usesDue = Math.max(1, ((usesRenewed / gateways) * periods.useSweepMs) / 1000)
  const usesTogether = Math.min(usesDue, periods.saysAtATime)
  const perGateway = (everyMs: number): number => gateways / (everyMs / 1000)
  return [
    {
      what: 'heartbeats of origins',
      command: 'heartbeat',
      perSecond: origins / heartbeatSeconds,
      together: 1,
    },
    {
      what: 'lists of origins, read',
      command: 'listGet',
      perSecond: perGateway(periods.listReadMs),
      together: 3,
      scale: origins / measured.origins,
      isHot: true,
    },
    {
      what: 'origins, read again',
      command: 'originGet',
      perSecond: (gateways * origins) / ((periods.originReadMs + periods.listReadMs / 2) / 1000),
      together: periods.saysAtATime,
    },
    {
      what: 'removed origins, read',
      command: 'originGet',
      perSecond: perGateway(periods.listReadMs),
      together: 3,
      isHot: true,
    },
    {
      what: 'orders of operators, read',
      command: 'originGet',
      perSecond: 2 * perGateway(periods.ordersReadMs),
      together: 2,
      isHot: true,
    },
    { what: 'streams new to a gateway: pick', command: 'pick', perSecond: newUses, together: 1 },
    { what: 'streams new to a gateway: use', command: 'use', perSecond: newUses, together: 1 },
    { what: 'streams left by a gateway', command: 'leave', perSecond: newUses, together: 1 },
    {
      what: 'streams in use, renewed',
      command: 'use',
      perSecond: usesRenewed,
      together: usesTogether,
    },
    { what: 'sessions, new: value', command: 'sessionWrite', perSecond: started, together: 3 },
    { what: 'sessions, new: by token', command: 'tokenSet', perSecond: started, together: 3 },
    { what: 'sessions, new: by stream', command: 'rtcSet', perSecond: started, together: 3 },
    { what: 'sessions, looked up by another gateway', command: 'sessionGet', perSecond: moved, together: 1 },
    { what: 'sessions, taken by another gateway', command: 'sessionTake', perSecond: moved, together: 2 },
    { what: 'sessions, taken: by token', command: 'expire', perSecond: moved, together: 2 },
    { what: 'sessions, taken: message', command: 'publish', perSecond: moved, together: 1, deliveries: 1 },
    { what: 'sessions, renewed', command: 'sessionKeep', perSecond: renewed, together: renewedTogether },
    { what: 'sessions, renewed: by token', command: 'expire', perSecond: renewed, together: renewedTogether },
    {
      what: 'sessions, renewed: by stream',
      command: 'expire',
      perSecond: Math.min(held.uses, held.webrtcSessions) / (periods.sessionRenewMs / 1000),
      together: renewedTogether,
    },
    { what: 'sessions, ended: value', command: 'sessionRemove', perSecond: started, together: 3 },
    { what: 'sessions, ended: by token', command: 'sessionRemove', perSecond: started, together: 3 },
    { what: 'sessions, ended: by stream', command: 'sessionRemove', perSecond: started, together: 3 },
    {
      what: 'gateways, announced',
      command: 'fleetRenew',
      perSecond: perGateway(periods.leaseRenewMs),
      together: 1,
      scale: gateways / measured.gateways,
      isHot: true,
    },
  ]
}
