import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import {
  BasicConstraintsExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { calculateJwkThumbprint, type JWK } from 'jose'
import { z } from 'zod'
import type { Certificate } from '../net/index.ts'
import { type SignedRequest, UnknownAccount, verifyBinding, verifyRequest } from './fake-acme-jws.testkit.ts'
import { validateHttp, validateTlsAlpn, type ValidationPorts } from './fake-acme-validation.testkit.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

interface Challenge {
  readonly type: 'http-01' | 'tls-alpn-01'
  readonly token: string
  readonly url: string
  status: 'pending' | 'processing' | 'valid' | 'invalid'
  error?: { readonly type: string; readonly detail: string }
}

interface Authorization {
  readonly domain: string
  readonly account: string
  readonly challenges: readonly Challenge[]
}

interface Order {
  readonly account: string
  readonly url: string
  readonly domains: readonly string[]
  readonly authorizations: readonly string[]
  chain?: string
  /** Answers `processing` once more before it is valid. */
  isProcessing: boolean
}

class Refusal extends Error {
  readonly status: number
  readonly type: string
  readonly retryAfter: string | undefined

  constructor(type: string, message: string, status = 400, retryAfter?: string) {
    super(message)
    this.type = `urn:ietf:params:acme:error:${type}`
    this.status = status
    this.retryAfter = retryAfter
  }
}

export interface FakeAcmeOptions {
  readonly ports: ValidationPorts
  /** Accounts must be bound to this. */
  readonly externalAccount?: { readonly kid: string; readonly hmacKey: string }
  /** Speaks HTTPS with it. @defaultValue plain HTTP */
  readonly certificate?: Certificate
  /** What it offers. @defaultValue both */
  readonly challenges?: readonly Challenge['type'][]
  /** Refuses the first request to such a path. */
  readonly refuseFirst?: { readonly path: string; readonly refusal: ConstructorParameters<typeof Refusal> }
  /** Takes requests and does not answer. */
  readonly isSilent?: boolean
  /** Never comes to a result about a challenge. */
  readonly isUndecided?: boolean
}

/**
 * An authority that speaks ACME (RFC 8555) on loopback. It checks signatures, nonces and URLs of requests, proves names
 * over real sockets, and issues certificates under a root of its own.
 */
export class FakeAcmeServer implements AsyncDisposable {
  /** Requests whose signature held, by path. */
  readonly requests: string[] = []
  readonly contacts: unknown[] = []
  /** Root in PEM. */
  readonly root: string
  readonly #options: FakeAcmeOptions
  readonly #server: Server
  readonly #keys: CryptoKeyPair
  readonly #rootCertificate: X509Certificate
  readonly #nonces = new Set<string>()
  readonly #accounts = new Map<string, JWK>()
  readonly #orders = new Map<string, Order>()
  readonly #authorizations = new Map<string, Authorization>()

  private constructor(options: FakeAcmeOptions, keys: CryptoKeyPair, root: X509Certificate) {
    this.#options = options
    this.#keys = keys
    this.#rootCertificate = root
    this.root = root.toString('pem')
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#serve(request, response)
    }
    const { certificate } = options
    this.#server =
      certificate === undefined ? createServer(serve) : createSecureServer({ ...certificate }, serve)
  }

  static async start(options: FakeAcmeOptions): Promise<FakeAcmeServer> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const root = await X509CertificateGenerator.createSelfSigned({
      name: 'CN=fake root',
      notBefore: new Date(Date.now() - 86_400_000),
      notAfter: new Date(Date.now() + 365 * 86_400_000),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    })
    const server = new FakeAcmeServer(options, keys, root)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get directoryUrl(): string {
    return `${this.#base}/directory`
  }

  get accounts(): number {
    return this.#accounts.size
  }

  /** As if it had been made anew. */
  forgetAccounts(): void {
    this.#accounts.clear()
  }

  get #base(): string {
    const scheme = this.#options.certificate === undefined ? 'http' : 'https'
    return `${scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    if (this.#options.isSilent === true) return
    const nonce = randomBytes(16).toString('base64url')
    this.#nonces.add(nonce)
    response.setHeader('Replay-Nonce', nonce)
    try {
      if (path === '/directory') reply(response, 200, this.#directory())
      else if (path === '/nonce') response.writeHead(200).end()
      else await this.#signed(path, await bodyOf(request), response)
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal('malformed', String(error))
      const { type, status, retryAfter, message } = refusal
      if (retryAfter !== undefined) response.setHeader('Retry-After', retryAfter)
      reply(response, status, { type, detail: message, status })
    }
  }

  #directory(): unknown {
    const base = this.#base
    return {
      newNonce: `${base}/nonce`,
      newAccount: `${base}/account`,
      newOrder: `${base}/order`,
      meta: {
        termsOfService: `${base}/terms`,
        externalAccountRequired: this.#options.externalAccount !== undefined,
      },
    }
  }

  async #signed(path: string, body: unknown, response: ServerResponse): Promise<void> {
    const signed = await verifyRequest(body, (kid) => this.#accounts.get(kid)).catch((error: unknown) => {
      if (error instanceof UnknownAccount) throw new Refusal('accountDoesNotExist', 'who is that')
      throw new Refusal('unauthorized', `signature: ${String(error)}`, 401)
    })
    if (signed.url !== this.#base + path) throw new Refusal('unauthorized', 'signed for another URL', 401)
    if (signed.nonce === undefined || !this.#nonces.delete(signed.nonce))
      throw new Refusal('badNonce', 'nonce')
    const { refuseFirst } = this.#options
    const isFirst = !this.requests.includes(path)
    this.requests.push(path)
    if (refuseFirst?.path === path && isFirst) throw new Refusal(...refuseFirst.refusal)
    if (path === '/account') return this.#account(signed, response)
    if (signed.kid === undefined) throw new Refusal('malformed', 'no kid')
    const [, kind, id = '', challenge] = path.split('/')
    if (path === '/order') return this.#newOrder(signed.kid, signed.payload, response)
    if (kind === 'order' && challenge === 'finalize') {
      await this.#finalize(this.#orderOf(id, signed), signed.payload)
      return reply(response, 200, this.#orderView(this.#orderOf(id, signed)))
    }
    if (kind === 'order') {
      const order = this.#orderOf(id, signed)
      const view = this.#orderView(order)
      order.isProcessing = false
      return reply(response, 200, view)
    }
    if (kind === 'authorization') return this.#authorization(id, Number(challenge), signed, response)
    if (kind === 'certificate') {
      const chain = this.#orderOf(id, signed).chain ?? ''
      response.writeHead(200, { 'Content-Type': 'application/pem-certificate-chain' }).end(chain)
      return
    }
    throw new Refusal('malformed', path, 404)
  }

  async #account({ jwk, url, payload }: SignedRequest, response: ServerResponse): Promise<void> {
    const { termsOfServiceAgreed, contact, externalAccountBinding } = z
      .object({
        termsOfServiceAgreed: z.boolean().optional(),
        contact: z.array(z.string()).optional(),
        externalAccountBinding: z.unknown().optional(),
      })
      .parse(payload)
    if (jwk === undefined) throw new Refusal('malformed', 'no jwk')
    if (termsOfServiceAgreed !== true) throw new Refusal('userActionRequired', 'agree to the terms', 403)
    const { externalAccount } = this.#options
    if (externalAccount !== undefined) {
      await verifyBinding(externalAccountBinding, { ...externalAccount, url, jwk }).catch(
        (error: unknown) => {
          throw new Refusal('externalAccountRequired', String(error), 401)
        },
      )
    }
    const account = `${this.#base}/accounts/${await calculateJwkThumbprint(jwk)}`
    this.#accounts.set(account, jwk)
    this.contacts.push(contact)
    response.setHeader('Location', account)
    reply(response, 201, { status: 'valid', contact })
  }

  #newOrder(account: string, payload: unknown, response: ServerResponse): void {
    const { identifiers } = z
      .object({ identifiers: z.array(z.object({ type: z.literal('dns'), value: z.string() })).min(1) })
      .parse(payload)
    const domains = identifiers.map(({ value }) => value)
    const url = `${this.#base}/order/${this.#orders.size}`
    const order: Order = {
      account,
      url,
      domains,
      authorizations: domains.map((domain) => this.#newAuthorization(account, domain)),
      isProcessing: false,
    }
    this.#orders.set(String(this.#orders.size), order)
    response.setHeader('Location', url)
    reply(response, 201, this.#orderView(order))
  }

  #newAuthorization(account: string, domain: string): string {
    const id = String(this.#authorizations.size)
    const url = `${this.#base}/authorization/${id}`
    const { challenges = ['http-01', 'tls-alpn-01'] } = this.#options
    this.#authorizations.set(id, {
      domain,
      account,
      challenges: challenges.map((type, index) => ({
        type,
        token: randomBytes(32).toString('base64url'),
        url: `${url}/${index}`,
        status: 'pending',
      })),
    })
    return url
  }

  #authorization(id: string, index: number, signed: SignedRequest, response: ServerResponse): void {
    const authorization = this.#authorizations.get(id)
    if (authorization?.account !== signed.kid || authorization === undefined) {
      throw new Refusal('unauthorized', 'not yours', 403)
    }
    const challenge = authorization.challenges[index]
    if (challenge === undefined) {
      reply(response, 200, {
        status: statusOf(authorization),
        identifier: { type: 'dns', value: authorization.domain },
        challenges: authorization.challenges,
      })
      return
    }
    // §7.5.1: an empty object means that the answer is there.
    if (JSON.stringify(signed.payload) !== '{}') throw new Refusal('malformed', 'not an empty object')
    if (challenge.status === 'pending') void this.#validate(authorization, challenge)
    reply(response, 200, challenge)
  }

  async #validate({ domain, account }: Authorization, challenge: Challenge): Promise<void> {
    challenge.status = 'processing'
    if (this.#options.isUndecided === true) return
    const { ports } = this.#options
    const keyAuthorization = `${challenge.token}.${await calculateJwkThumbprint(this.#accounts.get(account) ?? {})}`
    try {
      if (challenge.type === 'http-01') {
        await validateHttp(domain, challenge.token, keyAuthorization, ports.http())
      } else await validateTlsAlpn(domain, keyAuthorization, ports.tls())
      challenge.status = 'valid'
    } catch (error) {
      challenge.status = 'invalid'
      challenge.error = { type: 'urn:ietf:params:acme:error:unauthorized', detail: String(error) }
    }
  }

  async #finalize(order: Order, payload: unknown): Promise<void> {
    if (this.#statusOf(order) !== 'ready') throw new Refusal('orderNotReady', 'not ready', 403)
    const { csr } = z.object({ csr: z.string() }).parse(payload)
    const request = new Pkcs10CertificateRequest(Buffer.from(csr, 'base64url'))
    if (!(await request.verify())) throw new Refusal('badCSR', 'signature')
    const raw = request.getExtension('2.5.29.17')?.rawData
    if (raw === undefined) throw new Refusal('badCSR', 'no names')
    const asked = new SubjectAlternativeNameExtension(raw).names.items.map(({ value }) => value).toSorted()
    if (JSON.stringify(asked) !== JSON.stringify([...order.domains].toSorted()))
      throw new Refusal('badCSR', 'names')
    const certificate = await X509CertificateGenerator.create({
      subject: '',
      issuer: this.#rootCertificate.subject,
      notBefore: new Date(Date.now() - 3_600_000),
      notAfter: new Date(Date.now() + 90 * 86_400_000),
      publicKey: await request.publicKey.export(),
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new SubjectAlternativeNameExtension(
          order.domains.map((value) => ({ type: 'dns' as const, value })),
          true,
        ),
      ],
    })
    order.chain = `${certificate.toString('pem')}\n${this.root}\n`
    order.isProcessing = true
  }

  #orderOf(id: string, { kid }: SignedRequest): Order {
    const order = this.#orders.get(id)
    if (order === undefined || order.account !== kid) throw new Refusal('unauthorized', 'not yours', 403)
    return order
  }

  #statusOf(order: Order): string {
    if (order.isProcessing) return 'processing'
    if (order.chain !== undefined) return 'valid'
    const statuses = order.authorizations.map((url) => {
      const authorization = this.#authorizations.get(url.split('/').at(-1) ?? '')
      return authorization === undefined ? 'invalid' : statusOf(authorization)
    })
    if (statuses.includes('invalid')) return 'invalid'
    return statuses.every((status) => status === 'valid') ? 'ready' : 'pending'
  }

  #orderView(order: Order): unknown {
    const status = this.#statusOf(order)
    return {
      status,
      identifiers: order.domains.map((value) => ({ type: 'dns', value })),
      authorizations: order.authorizations,
      finalize: `${order.url}/finalize`,
      ...(status === 'valid' && { certificate: order.url.replace('/order/', '/certificate/') }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

function statusOf({ challenges }: Authorization): 'pending' | 'valid' | 'invalid' {
  if (challenges.some(({ status }) => status === 'invalid')) return 'invalid'
  return challenges.some(({ status }) => status === 'valid') ? 'valid' : 'pending'
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  const type = status >= 400 ? 'application/problem+json' : 'application/json'
  response.writeHead(status, { 'Content-Type': type }).end(JSON.stringify(body))
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  if (request.method !== 'POST' || request.headers['content-type'] !== 'application/jose+json') {
    throw new Refusal('malformed', 'not a signed POST', 415)
  }
  const parts: Buffer[] = []
  for await (const bytes of request) parts.push(bytes as Buffer)
  return JSON.parse(Buffer.concat(parts).toString())
}
