import type { Authorization, Client, Order } from 'acme-client'
import type { Clock } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import type { Certificate } from '../net/index.ts'
import type { CompleteAcmeOptions } from './acme-options.ts'
import type { AcmeStore } from './acme-store.ts'
import { acmeAgent, type AcmeModule, type AcmeRun, withAcme } from './acme-transport.ts'
import type { ChallengeAnswers } from './challenge-answers.ts'
import { AcmeError, AcmeErrorCode } from './errors.ts'

/** What an order is made with. */
export interface AcmeOrderParts {
  readonly options: CompleteAcmeOptions
  readonly store: AcmeStore
  readonly answers: ChallengeAnswers
  readonly clock: Clock
  /** Aborted when nobody wants the certificate any more. */
  readonly signal: AbortSignal
}

/** Of an authority's words, at most so many characters are told. */
const MAX_MESSAGE = 500

/**
 * Has a certificate from the authority (RFC 8555 §7.1): account, order, proof of each name, certificate. The account is saved
 * as soon as it is known; the certificate is the caller's to save.
 *
 * @throws AcmeError: ACME_REFUSED, ACME_UNPROVEN, ACME_NO_CHALLENGE, ACME_LATE, ACME_FOLDER
 */
export async function orderCertificate(parts: AcmeOrderParts): Promise<Certificate> {
  const { options, clock, signal } = parts
  const timeout = new AbortController()
  const timer = clock.after(options.orderTimeoutMs, () => timeout.abort())
  const agent = await acmeAgent(options.ca).catch((cause: unknown) => {
    throw new AcmeError(AcmeErrorCode.folder, `${options.ca}: ${errorMessage(cause)}`, cause)
  })
  const run: AcmeRun = {
    signal: AbortSignal.any([signal, timeout.signal]),
    timeoutMs: options.requestTimeoutMs,
    agent,
  }
  try {
    return await withAcme(run, (acme) => new AcmeOrder(acme, run, parts).certificate())
  } catch (error) {
    if (error instanceof AcmeError) throw error
    if (timeout.signal.aborted) {
      throw new AcmeError(AcmeErrorCode.late, `the authority took over ${options.orderTimeoutMs} ms`, error)
    }
    if (run.problem?.type.endsWith(':accountDoesNotExist') === true) await forgetAccountUrl(parts.store)
    const message = [run.problem?.type, errorMessage(error)].filter(Boolean).join(': ')
    throw new AcmeError(
      AcmeErrorCode.refused,
      message.slice(0, MAX_MESSAGE),
      error,
      run.problem?.retryAfterMs,
    )
  } finally {
    timer.cancel()
    agent.destroy()
  }
}

/** The authority has been made anew, or the account was deleted there: the next order registers it again. */
async function forgetAccountUrl(store: AcmeStore): Promise<void> {
  const account = await store.account()
  if (account !== undefined) await store.saveAccount({ key: account.key, failed: account.failed })
}

class AcmeOrder {
  readonly #acme: AcmeModule
  readonly #run: AcmeRun
  readonly #parts: AcmeOrderParts

  constructor(acme: AcmeModule, run: AcmeRun, parts: AcmeOrderParts) {
    this.#acme = acme
    this.#run = run
    this.#parts = parts
  }

  async certificate(): Promise<Certificate> {
    const { domains } = this.#parts.options
    const client = await this.#client()
    const placed = await client.createOrder({
      identifiers: domains.map((value) => ({ type: 'dns', value })),
    })
    await this.#prove(client, placed)
    const { crypto } = this.#acme
    const [key, request] = await crypto.createCsr(
      { altNames: [...domains] },
      await crypto.createPrivateEcdsaKey(),
    )
    // Authorizations can be valid a moment before the order is ready.
    const ready = await this.#settled(client, placed, ['ready', 'valid'])
    await client.finalizeOrder(ready, request)
    const done = await this.#settled(client, placed, ['valid'])
    return { cert: await client.getCertificate(done), key: key.toString() }
  }

  /** With an account that is registered. */
  async #client(): Promise<Client> {
    const { options, store } = this.#parts
    const saved = await store.account()
    const key = saved?.key ?? (await this.#acme.crypto.createPrivateEcdsaKey()).toString()
    if (saved === undefined) await store.saveAccount({ key })
    const { externalAccount } = options
    const client = new this.#acme.Client({
      directoryUrl: options.directoryUrl,
      accountKey: key,
      ...(saved?.url !== undefined && { accountUrl: saved.url }),
      ...(externalAccount !== undefined && { externalAccountBinding: { ...externalAccount } }),
    })
    if (saved?.url !== undefined) return client
    await client.createAccount({
      termsOfServiceAgreed: true,
      ...(options.email !== undefined && { contact: [`mailto:${options.email}`] }),
    })
    await store.saveAccount({ ...saved, key, url: client.getAccountUrl() })
    return client
  }

  async #prove(client: Client, order: Order): Promise<void> {
    const endings: (() => void)[] = []
    try {
      const open = (await client.getAuthorizations(order)).filter(({ status }) => status !== 'valid')
      for (const authorization of open) endings.push(await this.#answer(client, authorization))
      for (const authorization of open) await client.completeChallenge(this.#challengeOf(authorization))
      for (;;) {
        const all = await client.getAuthorizations(order)
        const failed = all.find(({ status }) => status !== 'valid' && status !== 'pending')
        if (failed !== undefined) throw unproven(failed)
        if (all.every(({ status }) => status === 'valid')) return
        await this.#pause()
      }
    } finally {
      for (const end of endings) end()
    }
  }

  async #answer(client: Client, authorization: Authorization): Promise<() => void> {
    const { answers } = this.#parts
    const challenge = this.#challengeOf(authorization)
    const keyAuthorization = await client.getChallengeKeyAuthorization(challenge)
    if (this.#parts.options.challenge === 'http-01') return answers.addFile(challenge.token, keyAuthorization)
    const { crypto } = this.#acme
    const ownKey = await crypto.createPrivateEcdsaKey()
    const [key, cert] = await crypto.createAlpnCertificate(authorization, keyAuthorization, ownKey)
    return answers.addCertificate(authorization.identifier.value.toLowerCase(), { cert, key })
  }

  #challengeOf({ challenges, identifier }: Authorization): Authorization['challenges'][number] {
    const wanted = this.#parts.options.challenge
    // The types of acme-client do not know tls-alpn-01.
    const found = challenges.find(({ type }: { readonly type: string }) => type === wanted)
    if (found !== undefined) return found
    const offered = challenges.map(({ type }) => type).join(', ')
    const message = `${identifier.value}: the authority offers ${offered || 'nothing'}, not ${wanted}`
    throw new AcmeError(AcmeErrorCode.noChallenge, message)
  }

  /** Asks for the order until it is as wanted. */
  async #settled(client: Client, { url }: Order, wanted: readonly Order['status'][]): Promise<Order> {
    for (;;) {
      const order = await client.getOrder({ url } as Order)
      if (wanted.includes(order.status)) return order
      if (order.status === 'invalid') {
        throw new AcmeError(AcmeErrorCode.refused, `the order is invalid: ${JSON.stringify(order.error)}`)
      }
      await this.#pause()
    }
  }

  async #pause(): Promise<void> {
    const { clock, options } = this.#parts
    const { signal } = this.#run
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = clock.after(options.pollMs, done)
      signal.addEventListener('abort', done)
      if (signal.aborted) done()
    })
    signal.throwIfAborted()
  }
}

function unproven({ identifier, status, challenges }: Authorization): AcmeError {
  const [reason] = challenges.flatMap(({ error }) => error ?? [])
  const message = `${identifier.value} is ${status}: ${JSON.stringify(reason)}`
  return new AcmeError(AcmeErrorCode.unproven, message.slice(0, MAX_MESSAGE))
}
