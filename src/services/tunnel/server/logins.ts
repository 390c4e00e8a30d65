import { errorCode, errorMessage } from '../../../foundation/errors.ts'
import type { TunnelServerConfig } from '../../../mechanisms/frp-config/index.ts'
import type { Login } from '../../../protocols/frp/index.ts'
import type { ServerAuth } from '../auth/contract.ts'
import { TunnelError } from '../errors.ts'
import { frpVersion } from '../frp-version.ts'
import type { AcceptedConnection } from '../transport/contract.ts'
import type { ControlParts } from './control-parts.ts'
import { ControlSession } from './control-session.ts'
import { dismiss } from './dismiss.ts'
import type { FirstMessage } from './first-message.ts'
import { LoginRate } from './login-rate.ts'
import { Quota, take } from './quota.ts'
import { type Rights, RightsTable } from './rights.ts'
import { agree } from './server-login.ts'
import { toldError } from './told-error.ts'
import type { LoginRefusal } from './tunnel-metrics.ts'

/** After a reload. */
const tokenIsGone = 'its token is not valid any more'

/** Lets clients in (reference §7.1), and knows those who are. */
export class Logins {
  #auth: ServerAuth
  readonly #parts: ControlParts
  readonly #random: (length: number) => Uint8Array
  readonly #rate: LoginRate
  readonly #rights: RightsTable
  readonly #quota: Quota
  /** By run id. */
  readonly #sessions = new Map<string, ControlSession>()
  #isClosed = false

  constructor(auth: ServerAuth, parts: ControlParts, random: (length: number) => Uint8Array) {
    const { limits } = parts.places.config
    this.#auth = auth
    this.#parts = parts
    this.#random = random
    this.#rate = new LoginRate(limits.loginsPerMinute, parts.clock)
    this.#rights = new RightsTable(parts.clock)
    this.#quota = new Quota('clients', limits.maxClients)
  }

  get sessions(): readonly ControlSession[] {
    return [...this.#sessions.values()]
  }

  get size(): number {
    return this.#sessions.size
  }

  sessionOf(runId: string): ControlSession | undefined {
    return this.#sessions.get(runId)
  }

  /** Puts other tokens and limits in force, and cuts the clients that have come with what does not hold any more. */
  configure({ auth: config, limits }: Pick<TunnelServerConfig, 'auth' | 'limits'>, auth: ServerAuth): void {
    this.#auth = auth
    this.#rights.configure(config.tokens)
    this.#rate.configure(limits.loginsPerMinute)
    this.#quota.limit = limits.maxClients
    for (const session of this.#sessions.values()) {
      const { identity, login } = session.client
      if (auth.holds(identity, login.user)) continue
      session.cut(new TunnelError('TUNNEL_CLOSED', tokenIsGone, { side: 'client' }))
    }
  }

  /** Lets nobody in any more, also of those who are being checked. */
  close(): void {
    this.#isClosed = true
  }

  /** Deals with a login, which is answered in any case. Never rejects. */
  async login(login: Login, first: FirstMessage, connection: AcceptedConnection): Promise<void> {
    const { channel } = first
    const address = connection.peer.remoteAddress
    const { metrics, logger } = this.#parts
    let isIn = false
    let release: () => void = nothing
    try {
      // First of all: what is said next, also a refusal, is read behind our hello.
      const { codecOf, udpPacketCodec } = agree(first, this.#random)
      if (!this.#rate.admit(address)) throw refusal('too many logins from this address, try again later')
      const identity = await this.#auth.verifyLogin(login)
      const rights = this.#rights.of(identity.grant)
      const runId = login.run_id === '' ? Buffer.from(this.#random(8)).toString('hex') : login.run_id
      // Between the last look at who has the run id and its being taken nothing is waited for: another login may come.
      for (;;) {
        if (this.#isClosed) throw new TunnelError('TUNNEL_CLOSED', 'the server is closing', { side: 'self' })
        if (channel.isOver) throw new TunnelError('TUNNEL_CLOSED', 'the client has gone', { side: 'client' })
        if (!this.#auth.holds(identity, login.user))
          throw new TunnelError('TUNNEL_UNAUTHORIZED', tokenIsGone, { side: 'client' })
        const old = this.#sessions.get(runId)
        if (old === undefined) break
        await replace(old, login, rights)
      }
      this.#checkClientId(login, runId)
      const taken = take([this.#quota, rights.clients])
      if (taken instanceof Quota) throw refusal(`exceed the limit of ${taken.limit} ${taken.name}`)
      release = taken
      connection.admit()
      isIn = true
      channel.send('LoginResp', { version: frpVersion, run_id: runId, half_close: true })
      channel.secure(codecOf(identity.token))
      const session = new ControlSession(
        { login, runId, identity, rights, connection, channel, udpPacketCodec },
        this.#parts,
      )
      this.#sessions.set(runId, session)
      void session.closed.then(() => {
        taken()
        this.#sessions.delete(runId)
      })
      session.start()
      metrics.loginAccepted()
      logger.info(
        { runId, version: login.version, hostname: login.hostname, address, user: login.user },
        'client login info',
      )
    } catch (error) {
      if (isIn) {
        // It has been told that it is in, and would read a refusal as something else.
        logger.error({ err: error }, 'a client that was let in is lost')
        connection.stream.destroy()
        release()
      } else {
        this.#refuse(error, first, connection)
      }
    }
  }

  #refuse(error: unknown, { channel }: FirstMessage, connection: AcceptedConnection): void {
    const { metrics, logger, clock, places } = this.#parts
    metrics.loginRefused(loginRefusal(error))
    const fields = {
      address: connection.peer.remoteAddress,
      code: errorCode(error),
      reason: errorMessage(error),
    }
    logger.warn(fields, 'register control error')
    const { detailedErrorsToClient } = places.config
    const told = toldError(error, 'register control error', detailedErrorsToClient)
    channel.send('LoginResp', { version: frpVersion, error: told })
    dismiss(channel, connection.stream, clock, () => connection.session?.destroy())
  }

  #checkClientId({ client_id: clientId, user }: Login, runId: string): void {
    if (clientId === '') return
    for (const { view } of this.#sessions.values()) {
      if (view.runId !== runId && view.clientId === clientId && view.user === user) {
        throw refusal(`client_id [${clientId}] for user [${user}] is already online`)
      }
    }
  }
}

/** A client that returns takes the place of what is left of it here. */
async function replace(old: ControlSession, login: Login, rights: Rights): Promise<void> {
  if (old.client.login.user !== login.user || old.client.rights !== rights) {
    throw refusal('the run id belongs to another client')
  }
  old.close(new TunnelError('TUNNEL_CLOSED', 'replaced by a new login', { side: 'client' }))
  await old.closed
}

function refusal(message: string): TunnelError {
  return new TunnelError('TUNNEL_FORBIDDEN', message, { side: 'client' })
}

function loginRefusal(error: unknown): LoginRefusal {
  switch (errorCode(error)) {
    case 'TUNNEL_UNAUTHORIZED':
      return 'unauthorized'
    case 'TUNNEL_FORBIDDEN':
      return 'limit'
    case 'TUNNEL_TIMEOUT':
      return 'timeout'
    case 'TUNNEL_CLOSED':
      return 'closed'
    default:
      return 'protocol'
  }
}

function nothing(): void {}
