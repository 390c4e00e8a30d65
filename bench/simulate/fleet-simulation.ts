import type { CommandName } from './commands.ts'
import type { FleetShape } from './fleet-shape.ts'
import { FluidRedis } from './fluid-redis.ts'
import type { Measured } from './measured.ts'
import type { Periods } from './periods.ts'
import { poisson } from './random.ts'
import { type Holdings, holdingsOf } from './rates.ts'

/** What one simulated second saw. */
export interface Second {
  readonly commands: number
  /** Part of the second in which Redis was busy. */
  readonly busy: number
  /** The longest wait of anything that came, in milliseconds. */
  readonly worstWaitMs: number
}

export interface SimulatedGateway {
  isUp: boolean
  /** When it does each thing next, in milliseconds. */
  listsAtMs: number
  originsAtMs: number
  leaseAtMs: number
  readonly sessionPhaseMs: number
  readonly sweepPhaseMs: number
  /** Sessions and uses by when they are due: seconds, and sweeps. */
  readonly sessionsDue: Float64Array
  readonly usesDue: Float64Array
  /** After Redis was away, until all is said. */
  isSaying: boolean
  /** What it has to say, again or as it is due, and when it may go on. */
  sayUses: number
  saySessions: number
  sayOrigins: number
  originReads: number
  goesOnAtMs: number
  readsOnAtMs: number
}

const STEP_MS = 10
/** What was not renewed in time is tried again so much later, in seconds. */
const SESSION_AGAIN_SECONDS = 30
const CORE_US = 1000

/**
 * A fleet and its Redis in steps of 10 ms: whatever gateways do at once waits in one line. Gateways are told apart; of their
 * sessions and streams only the numbers are.
 */
export class FleetSimulation {
  readonly redis: FluidRedis = new FluidRedis()
  readonly gateways: readonly SimulatedGateway[]
  readonly seconds: Second[] = []
  /** Waits of picks of new streams, in milliseconds; those that passed the deadline are placed alone. */
  readonly pickWaits: number[] = []
  latePicks = 0
  /** Commands in the background that passed their deadline. */
  late = 0
  nowMs = 0
  readonly held: Holdings
  readonly #shape: FleetShape
  readonly #periods: Periods
  readonly #measured: Measured
  readonly #random: () => number
  #worstWaitMs = 0
  #commandsBefore = 0

  constructor(shape: FleetShape, periods: Periods, measured: Measured, random: () => number) {
    this.#shape = shape
    this.#periods = periods
    this.#measured = measured
    this.#random = random
    this.held = holdingsOf(shape)
    this.gateways = Array.from({ length: shape.gateways }, () => this.#gateway())
  }

  /** Goes on for so long; `each` is called before each step. */
  run(seconds: number, each: () => void = () => {}): void {
    const endMs = this.nowMs + seconds * 1000
    while (this.nowMs < endMs) {
      each()
      this.#step()
    }
  }

  /** A gateway as it is long after its start, with what its share of the fleet is. */
  #gateway(): SimulatedGateway {
    const { gateways } = this.#shape
    const { listReadMs, originReadMs, leaseRenewMs, sessionRenewMs, useRenewMs, useSweepMs } = this.#periods
    const [sessionSlots, useSlots] = [Math.round(sessionRenewMs / 1000), Math.round(useRenewMs / useSweepMs)]
    return {
      isUp: true,
      listsAtMs: this.#random() * listReadMs,
      originsAtMs: this.#random() * originReadMs,
      leaseAtMs: this.#random() * leaseRenewMs,
      sessionPhaseMs: Math.floor((this.#random() * 1000) / STEP_MS) * STEP_MS,
      sweepPhaseMs: Math.floor((this.#random() * useSweepMs) / STEP_MS) * STEP_MS,
      sessionsDue: new Float64Array(sessionSlots).fill(this.held.webrtcSessions / gateways / sessionSlots),
      usesDue: new Float64Array(useSlots).fill(this.held.uses / gateways / useSlots),
      isSaying: false,
      sayUses: 0,
      saySessions: 0,
      sayOrigins: 0,
      originReads: 0,
      goesOnAtMs: 0,
      readsOnAtMs: 0,
    }
  }

  sessionsOf({ sessionsDue }: SimulatedGateway): number {
    return sessionsDue.reduce((total, count) => total + count, 0)
  }

  usesOf({ usesDue }: SimulatedGateway): number {
    return usesDue.reduce((total, count) => total + count, 0)
  }

  /** It starts, and reads what others know. */
  startGateway(gateway: SimulatedGateway): void {
    gateway.isUp = true
    gateway.listsAtMs = this.nowMs
    gateway.originsAtMs = this.nowMs
    gateway.leaseAtMs = this.nowMs
  }

  /** It is gone, and what it held with it. */
  killGateway(gateway: SimulatedGateway): void {
    gateway.isUp = false
    gateway.sessionsDue.fill(0)
    gateway.usesDue.fill(0)
  }

  /** Sessions of others that come to living gateways now, by their media. Gives how many were taken: others come again. */
  takeOver(sessions: number): number {
    let taken = 0
    for (let left = sessions; left >= 1; left--) {
      const waitMs = this.#send(['sessionGet'], 1, 1)
      if (waitMs === undefined || waitMs > this.#periods.commandDeadlineMs) continue
      const gateway = this.#anyGateway()
      this.#background(['sessionTake', 'expire', 'publish'], 1)
      this.#startUse(gateway)
      this.#startSession(gateway)
      taken++
    }
    return taken
  }

  /** All say again what they hold, as after Redis was away. */
  sayAgain(gateway: SimulatedGateway, origins: number): void {
    gateway.isSaying = true
    gateway.sayUses += this.usesOf(gateway)
    gateway.saySessions = this.sessionsOf(gateway)
    gateway.sayOrigins = origins
    gateway.goesOnAtMs = this.nowMs
    gateway.listsAtMs = this.nowMs
    gateway.usesDue.fill(0)
    gateway.sessionsDue.fill(0)
  }

  get saying(): number {
    return this.gateways.reduce(
      (total, { isSaying, sayUses, saySessions, sayOrigins }) =>
        total + (isSaying ? sayUses + saySessions + sayOrigins : 0),
      0,
    )
  }

  #step(): void {
    this.#newSessions()
    this.#heartbeats()
    for (const gateway of this.gateways) {
      if (!gateway.isUp) continue
      this.#lists(gateway)
      this.#lease(gateway)
      this.#renewSessions(gateway)
      this.#renewUses(gateway)
      this.#say(gateway)
    }
    this.redis.pass(STEP_MS)
    this.nowMs += STEP_MS
    if (this.nowMs % 1000 === 0) this.#endSecond()
  }

  #endSecond(): void {
    this.seconds.push({
      commands: this.redis.commands - this.#commandsBefore,
      busy: this.redis.takeBusyUs() / (1000 * CORE_US),
      worstWaitMs: this.#worstWaitMs,
    })
    this.#commandsBefore = this.redis.commands
    this.#worstWaitMs = 0
  }

  #newSessions(): void {
    const { webrtcShare, movedShare } = this.#shape
    for (let left = poisson((this.held.sessionsPerSecond * STEP_MS) / 1000, this.#random); left > 0; left--) {
      this.#startUse(this.#anyGateway())
      // Another one ends somewhere.
      this.#background(['leave', 'sessionRemove', 'sessionRemove', 'sessionRemove'], 1)
      if (this.#random() >= webrtcShare) continue
      this.#background(['sessionWrite', 'tokenSet', 'rtcSet'], 1)
      if (this.#random() < movedShare) {
        this.takeOver(1)
        this.#background(['leave'], 1)
      } else this.#startSession(this.#anyGateway())
    }
  }

  #startUse(gateway: SimulatedGateway): void {
    const waitMs = this.#send(['pick'], 1, 1)
    if (waitMs === undefined || waitMs > this.#periods.commandDeadlineMs) this.latePicks++
    else this.pickWaits.push(waitMs)
    this.#background(['use'], 1)
    this.#fileUses(gateway, 1)
  }

  #startSession(gateway: SimulatedGateway): void {
    this.#fileSessions(gateway, 1, gateway.sessionsDue.length)
  }

  #heartbeats(): void {
    const { origins, heartbeatSeconds } = this.#shape
    const count = poisson(((origins / heartbeatSeconds) * STEP_MS) / 1000, this.#random)
    if (count > 0) this.#background(['heartbeat'], count, count)
  }

  #lists(gateway: SimulatedGateway): void {
    const { listReadMs, originReadMs, saysAtATime } = this.#periods
    if (this.nowMs >= gateway.listsAtMs) {
      gateway.listsAtMs = this.nowMs + listReadMs * (0.9 + 0.2 * this.#random())
      this.#background(['listGet'], 1, 1, this.#shape.origins / this.#measured.filled.origins)
      if (this.nowMs >= gateway.originsAtMs) {
        gateway.originsAtMs = this.nowMs + originReadMs
        gateway.originReads = this.#shape.origins
        gateway.readsOnAtMs = this.nowMs
      }
    }
    if (gateway.originReads > 0 && this.nowMs >= gateway.readsOnAtMs) {
      const some = Math.min(saysAtATime, gateway.originReads)
      gateway.originReads -= some
      gateway.readsOnAtMs = this.nowMs + (this.#background(['originGet'], some) ?? 0)
    }
  }

  #lease(gateway: SimulatedGateway): void {
    if (this.nowMs < gateway.leaseAtMs) return
    gateway.leaseAtMs = this.nowMs + this.#periods.leaseRenewMs
    this.#background(['fleetRenew'], 1, 1, this.#shape.gateways / this.#measured.filled.gateways)
  }

  #renewSessions(gateway: SimulatedGateway): void {
    if (this.nowMs % 1000 !== gateway.sessionPhaseMs) return
    const { sessionsDue } = gateway
    const slot = Math.floor(this.nowMs / 1000) % sessionsDue.length
    const lived = Math.exp(-sessionsDue.length / (this.#shape.sessionMinutes * 60))
    const due = (sessionsDue[slot] ?? 0) * lived
    sessionsDue[slot] = 0
    if (due < 0.5) return
    const waitMs = this.#background(['sessionKeep', 'expire', 'expire'], due)
    const isLate = waitMs === undefined || waitMs > this.#periods.commandDeadlineMs
    this.#fileSessions(gateway, due, isLate ? SESSION_AGAIN_SECONDS : sessionsDue.length)
  }

  #renewUses(gateway: SimulatedGateway): void {
    const { useSweepMs, useRenewMs } = this.#periods
    if (this.nowMs % useSweepMs !== gateway.sweepPhaseMs || this.redis.isAway) return
    const { usesDue } = gateway
    const slot = Math.floor(this.nowMs / useSweepMs) % usesDue.length
    // A few at a time, as after Redis was away.
    gateway.sayUses += (usesDue[slot] ?? 0) * Math.exp(-useRenewMs / (this.#shape.sessionMinutes * 60_000))
    usesDue[slot] = 0
  }

  #say(gateway: SimulatedGateway): void {
    if (this.nowMs < gateway.goesOnAtMs || this.redis.isAway) return
    const { saysAtATime, saysSessionsAtATime } = this.#periods
    const answers: number[] = []
    if (gateway.sayOrigins > 0) {
      const origins = Math.min(saysAtATime, gateway.sayOrigins)
      gateway.sayOrigins -= origins
      answers.push(this.#background(['heartbeat'], origins) ?? 0)
      // And all of them in the list, at once.
      if (gateway.sayOrigins < 1) {
        answers.push(
          this.#background(['listChange'], 1, 1, this.#shape.origins / this.#measured.filled.origins) ?? 0,
        )
      }
    }
    if (gateway.sayUses > 0) {
      const uses = Math.min(saysAtATime, gateway.sayUses)
      gateway.sayUses -= uses
      answers.push(this.#background(['use'], uses) ?? 0)
      this.#fileUses(gateway, uses)
    }
    if (gateway.saySessions > 0) {
      const sessions = Math.min(saysSessionsAtATime, gateway.saySessions)
      gateway.saySessions -= sessions
      answers.push(this.#background(['sessionWrite', 'tokenSet', 'rtcSet'], sessions) ?? 0)
      this.#fileSessions(gateway, sessions, gateway.sessionsDue.length)
    }
    if (answers.length === 0) gateway.isSaying = false
    else gateway.goesOnAtMs = this.nowMs + Math.max(STEP_MS, ...answers)
  }

  /** Commands that nobody waits for, `count` of each in `writes` writes. */
  #background(names: readonly CommandName[], count: number, writes = 1, scale = 1): number | undefined {
    const waitMs = this.#send(names, count, writes, scale)
    if (waitMs !== undefined && waitMs > this.#periods.commandDeadlineMs) this.late += count * names.length
    return waitMs
  }

  /** Gives how long the answer takes; undefined: there is none. */
  #send(names: readonly CommandName[], count: number, writes: number, scale = 1): number | undefined {
    const { commands, writeUs, mixFactor } = this.#measured
    const us = names.reduce((total, name) => total + commands[name].cpuUs, 0) * count * scale
    const cores = this.#shape.redisNodes
    const waitMs = this.redis.take(count * names.length, (mixFactor * (us + writeUs * writes)) / cores)
    if (waitMs !== undefined) this.#worstWaitMs = Math.max(this.#worstWaitMs, waitMs)
    return waitMs
  }

  #fileUses({ usesDue }: SimulatedGateway, count: number): void {
    const slot = (Math.floor(this.nowMs / this.#periods.useSweepMs) + usesDue.length - 1) % usesDue.length
    usesDue[slot] = (usesDue[slot] ?? 0) + count
  }

  #fileSessions({ sessionsDue }: SimulatedGateway, count: number, inSeconds: number): void {
    const slot =
      (Math.floor(this.nowMs / 1000) + Math.min(inSeconds, sessionsDue.length)) % sessionsDue.length
    sessionsDue[slot] = (sessionsDue[slot] ?? 0) + count
  }

  #anyGateway(): SimulatedGateway {
    for (;;) {
      const gateway = this.gateways[Math.floor(this.#random() * this.gateways.length)]
      if (gateway?.isUp === true) return gateway
    }
  }
}
