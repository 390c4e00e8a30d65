import { z } from 'zod'
import { errorCode } from '../../foundation/errors.ts'
import type { Redis } from '../redis/index.ts'
import type { LinePace, Logger } from '../telemetry/index.ts'
import type { GatewayId } from './contract.ts'
import { isGatewayId } from './gateway-id.ts'
import { Listeners } from './listeners.ts'

/** Longest message in bytes, with its envelope. */
const MAX_MESSAGE_BYTES = 65_536

/** What became of messages. */
export interface MessageCounts {
  sent: number
  /** Not sent: Redis was away, or did not take it. */
  lost: number
  received: number
  /** Too long, or not what a gateway sends. */
  bad: number
}

export interface FleetBusOptions {
  readonly redis: Pick<Redis, 'isUp' | 'key' | 'subscribe' | 'publish'>
  readonly id: GatewayId
  readonly log: Logger
  readonly pace: LinePace
}

/** Messages between gateways, over PUBLISH: whoever does not listen at that moment never gets them. */
export class FleetBus {
  readonly counts: MessageCounts = { sent: 0, lost: 0, received: 0, bad: 0 }
  readonly #redis: FleetBusOptions['redis']
  readonly #id: GatewayId
  readonly #log: Logger
  readonly #pace: LinePace
  readonly #topics = new Map<string, Listeners<[data: unknown, from: GatewayId]>>()
  #unsubscribe: readonly (() => void)[] = []

  constructor({ redis, id, log, pace }: FleetBusOptions) {
    this.#redis = redis
    this.#id = id
    this.#log = log
    this.#pace = pace
  }

  start(): void {
    this.stop()
    this.#unsubscribe = [this.#channel('all'), this.#channel(this.#id)].map((channel) =>
      this.#redis.subscribe(channel, (message) => this.#receive(message)),
    )
  }

  stop(): void {
    for (const end of this.#unsubscribe) end()
    this.#unsubscribe = []
  }

  /** Settles when Redis has it or it is lost; never rejects. */
  async send(to: GatewayId | 'all', topic: string, data: unknown): Promise<void> {
    // One does not hear oneself.
    if (to === this.#id) return
    const message = JSON.stringify({ from: this.#id, topic, data })
    if (Buffer.byteLength(message) > MAX_MESSAGE_BYTES) {
      this.counts.bad++
      this.#warn({ topic, bytes: Buffer.byteLength(message) }, 'message to gateways is too long')
      return
    }
    try {
      if (!this.#redis.isUp) {
        this.counts.lost++
        return
      }
      await this.#redis.publish(this.#channel(to), message)
      this.counts.sent++
    } catch (error) {
      this.counts.lost++
      this.#log.debug({ topic, code: errorCode(error) }, 'message to gateways lost')
    }
  }

  on(topic: string, handler: (data: unknown, from: GatewayId) => void): () => void {
    const listeners = this.#topics.get(topic) ?? new Listeners(topic, { log: this.#log, pace: this.#pace })
    this.#topics.set(topic, listeners)
    const end = listeners.add(handler)
    return () => {
      end()
      if (listeners.size === 0 && this.#topics.get(topic) === listeners) this.#topics.delete(topic)
    }
  }

  #receive(message: string): void {
    const envelope = parseEnvelope(message)
    if (envelope === undefined) {
      this.counts.bad++
      this.#warn({ bytes: message.length }, 'message of a gateway cannot be read')
      return
    }
    const { from, topic, data } = envelope
    if (from === this.#id) return
    this.counts.received++
    this.#topics.get(topic)?.call(data, from)
  }

  #channel(to: GatewayId | 'all'): string {
    return this.#redis.key(to === 'all' ? 'sluice-bus' : `sluice-bus:${to}`)
  }

  #warn(fields: object, text: string): void {
    const due = this.#pace.due(text)
    if (due !== undefined) this.#log.warn({ ...fields, ...due }, text)
  }
}

const envelopeSchema = z.object({
  from: z.string().refine(isGatewayId),
  topic: z.string().min(1).max(64),
  data: z.unknown(),
})

function parseEnvelope(
  message: string,
): { readonly from: GatewayId; readonly topic: string; readonly data?: unknown } | undefined {
  if (Buffer.byteLength(message) > MAX_MESSAGE_BYTES) return undefined
  try {
    return envelopeSchema.safeParse(JSON.parse(message)).data
  } catch {
    return undefined
  }
}
