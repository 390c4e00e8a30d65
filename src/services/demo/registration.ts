import { randomBytes } from 'node:crypto'
import { Agent, request } from 'undici'
import type { Clock, Timer } from '../../foundation/clock.ts'
import { errorCode, errorMessage } from '../../foundation/errors.ts'
import type { Logger } from '../../mechanisms/telemetry/index.ts'
import { DemoError, DemoErrorCode } from './errors.ts'

export interface RegistrationOptions {
  readonly log: Logger
  readonly clock: Clock
  /** The whole URL of the registration API. */
  readonly registerUrl: string
  readonly registerToken?: string
  /** Milliseconds from one heartbeat to the next. */
  readonly intervalMs: number
}

/** Ports that are announced. */
export interface AnnouncedPorts {
  readonly rtmp: number
  readonly http: number
}

/** Announces the origin to the gateway, over HTTP, as any SRS origin does: again and again. */
export class Registration {
  readonly #options: RegistrationOptions
  readonly #agent = new Agent({ connections: 1, connect: { timeout: REQUEST_TIMEOUT_MS } })
  readonly #service = randomBytes(4).toString('hex')
  #body = ''
  #timer: Timer | undefined
  #isClosed = false
  #isFailing = false

  constructor(options: RegistrationOptions) {
    this.#options = options
  }

  /** Resolves after the first heartbeat, whether or not the gateway took it; the next ones follow by themselves. */
  async start(ports: AnnouncedPorts): Promise<void> {
    this.#body = JSON.stringify({
      device_id: 'sluice-demo',
      ip: '127.0.0.1',
      server: 'sluice-demo',
      service: this.#service,
      pid: String(process.pid),
      rtmp: [String(ports.rtmp)],
      http: [String(ports.http)],
      api: [String(ports.http)],
      // Port 0: every session has a UDP port of its own, which its SDP answer names.
      rtc: ['udp://0.0.0.0:0'],
    })
    await this.#beat()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#agent.destroy()
  }

  async #beat(): Promise<void> {
    const { clock, intervalMs, log } = this.#options
    try {
      await this.#post()
      if (this.#isFailing) log.info('demo origin is registered again')
      this.#isFailing = false
    } catch (error) {
      if (!this.#isFailing && !this.#isClosed) {
        log.warn({ code: errorCode(error), reason: errorMessage(error) }, 'demo origin cannot register')
      }
      this.#isFailing = true
    }
    // #beat catches its own errors.
    if (!this.#isClosed) this.#timer = clock.after(intervalMs, () => void this.#beat())
  }

  async #post(): Promise<void> {
    const { registerToken, registerUrl } = this.#options
    const { body, statusCode } = await request(registerUrl, {
      method: 'POST',
      dispatcher: this.#agent,
      headers: {
        'content-type': 'application/json',
        ...(registerToken === undefined ? {} : { authorization: `Bearer ${registerToken}` }),
      },
      body: this.#body,
      headersTimeout: REQUEST_TIMEOUT_MS,
      bodyTimeout: REQUEST_TIMEOUT_MS,
    })
    await body.dump({ limit: 16 * 1024 })
    if (statusCode !== 200) {
      throw new DemoError(
        DemoErrorCode.registrationRefused,
        `the registration API answered ${statusCode}`,
        502,
      )
    }
  }
}

const REQUEST_TIMEOUT_MS = 2_000
