import type { StunMessage } from '../../../protocols/stun/index.ts'
import type { TurnLimits } from '../options.ts'
import type { Allocation, Replay } from './allocation.ts'
import { noncePort, type RefusalCode } from './authenticator.ts'
import type { Challenge } from './challenge.ts'
import type { Client } from './client.ts'
import type { Outcome, Refusal } from './outcome.ts'
import { beginError, beginSuccess, finish, sign, type TurnRequest } from './request.ts'
import { sendTo } from './send-to.ts'
import { StrangerBudget } from './stranger-budget.ts'
import { methodOf } from './turn-method.ts'
import type { TurnState } from './turn-state.ts'
import type { TurnStats } from './turn-stats.ts'

/** What requests are answered: as they were signed to whom is known, within a budget to whom nothing is proved of. All are counted. */
export class Answers {
  readonly #state: TurnState
  readonly #stats: TurnStats
  #challenge!: Challenge
  #budget: StrangerBudget | undefined
  /** By budgets of earlier settings, and for other reasons. */
  #unansweredBefore = 0

  /** `configure` comes before anything else. */
  constructor(state: TurnState, stats: TurnStats) {
    this.#state = state
    this.#stats = stats
  }

  /** Puts another challenge and other budgets in force. */
  configure(
    challenge: Challenge,
    limits: Pick<TurnLimits, 'strangerRepliesPerSecond' | 'totalStrangerRepliesPerSecond'>,
  ): void {
    this.#challenge = challenge
    this.#unansweredBefore = this.unanswered
    this.#budget = new StrangerBudget({
      perPrefix: limits.strangerRepliesPerSecond,
      total: limits.totalStrangerRepliesPerSecond,
      key: Uint8Array.from(this.#state.random(16)),
    })
  }

  /** Requests that got no answer, for want of budget. */
  get unanswered(): number {
    return this.#unansweredBefore + (this.#budget?.refused ?? 0)
  }

  countUnanswered(): void {
    this.#unansweredBefore++
  }

  answering(request: TurnRequest): (outcome: Outcome) => void {
    return (outcome) => this.answer(request, outcome)
  }

  answer(request: TurnRequest, outcome: Outcome): void {
    const { message, client } = request
    if (typeof outcome !== 'function') {
      this.refuse(message, client, request, typeof outcome === 'number' ? { code: outcome } : outcome)
      return
    }
    const writer = beginSuccess(request)
    outcome(writer)
    this.#stats.count(methodOf(message), 'success')
    sendTo(client, sign(writer, request))
  }

  /** @param known who asks, where that is proved */
  refuse(message: StunMessage, client: Client, known: TurnRequest | undefined, { code, add }: Refusal): void {
    const method = methodOf(message)
    this.#stats.count(method, code)
    const writer = beginError(message, code, known !== undefined)
    add?.(writer)
    sendTo(client, known === undefined ? finish(writer, message) : sign(writer, known))
    if (known === undefined) return
    const { userId } = known.identity.credential
    this.#state.notify('requestRefused', (events) =>
      events.requestRefused?.({ method, code, userId, clientAddress: client.address }),
    )
  }

  /** Refuses a request whose sender is not who it says, or has not said it yet. */
  turnAway(
    message: StunMessage,
    client: Client,
    allocation: Allocation | undefined,
    code: RefusalCode,
  ): void {
    if (!this.mayAnswer(message, client, allocation)) return
    if (code !== 401 && code !== 438) return this.refuse(message, client, undefined, { code })
    this.#stats.count(methodOf(message), code)
    const { address } = client
    const wallMs = this.#state.clock.wallMs()
    sendTo(client, this.#challenge.write(code, message, { address, port: noncePort(client) }, wallMs))
  }

  /** Who has an allocation is no stranger. */
  mayAnswer(message: StunMessage, client: Client, allocation: Allocation | undefined): boolean {
    return (
      allocation !== undefined ||
      this.#budget?.admits(client.address, message.bytes.length, this.#state.clock.nowMs()) === true
    )
  }

  /** Gives a retransmission the answer that it had before, if it is kept. */
  replay({ client, nowMs }: TurnRequest, { replay }: Allocation, transaction: string): boolean {
    if (replay === undefined || replay.transactionId !== transaction || replay.untilMs <= nowMs) return false
    sendTo(client, Buffer.from(replay.message, 'latin1'))
    return true
  }
}

/** An answer to keep. As a text: a piece of a Buffer keeps all of the memory that it was cut from. */
export function replayOf(transactionId: string, message: Buffer, nowMs: number): Replay {
  return { transactionId, message: message.toString('latin1'), untilMs: nowMs + replayMs }
}

/** A client gives up after 39.5 s (RFC 8489 §6.2.1). */
const replayMs = 40_000
