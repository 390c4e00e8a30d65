import { Agent, type Dispatcher, request } from 'undici'
import type { z } from 'zod'
import { errorCode, errorMessage, SluiceError } from '../foundation/errors.ts'
import { defaultConfig } from '../mechanisms/config/index.ts'
import { parseListenText } from '../mechanisms/net/index.ts'
import { configOf } from './config-file.ts'
import { plainText } from './status-table.ts'

/** Where the admin API of a gateway is, and who asks. */
export interface AdminOptions {
  /** `http://host:port`, or `host:port`. */
  readonly admin?: string
  readonly token?: string
  readonly config?: string
}

/** Codes of commands that ask a gateway, and what to do about each. */
export type AdminClientErrorCode =
  /** The address is none, or the configured one has no fixed port: name it with --admin. */
  | 'ADMIN_BAD_ADDRESS'
  /** Nobody answers there: see whether the gateway runs, and where its `admin.listen` is. */
  | 'ADMIN_UNREACHABLE'
  /** Something is there and does not answer in time: the gateway hangs, or something on the way swallows what is sent. */
  | 'ADMIN_SLOW'
  /** The gateway wants another token: --token, SLUICE_ADMIN_TOKEN, or `admin.token` of the configuration. */
  | 'ADMIN_TOKEN_REFUSED'
  /** What answers there is no gateway of this version. */
  | 'ADMIN_BAD_ANSWER'

/** How long an answer may take. */
const ANSWER_MS = 15_000
/** A hundred thousand streams are half of it. */
const MAX_ANSWER_BYTES = 67_108_864

/** Asks the admin API of one gateway. */
export class AdminClient {
  readonly #base: URL
  readonly #token: string | undefined

  private constructor(base: URL, token: string | undefined) {
    this.#base = base
    this.#token = token
  }

  /**
   * The gateway that is named, else that of the configuration, else one on this machine with the default port. The token:
   * `token`, else SLUICE_ADMIN_TOKEN, else that of the configuration. @throws ADMIN_BAD_ADDRESS, CONFIG_*
   */
  static async open({ admin, token, config: file }: AdminOptions): Promise<AdminClient> {
    const { admin: configured } = (await configOf(file)) ?? defaultConfig()
    // A variable that is set to nothing is none.
    const found = token ?? (process.env['SLUICE_ADMIN_TOKEN'] || configured.token)
    return new AdminClient(admin === undefined ? baseOfListen(configured.listen) : baseOf(admin), found)
  }

  /** Where it asks, for people. */
  get place(): string {
    return this.#base.host
  }

  /**
   * One request, and its answer as `schema` has it.
   * @throws ADMIN_UNREACHABLE, ADMIN_SLOW, ADMIN_TOKEN_REFUSED, ADMIN_BAD_ANSWER, and the code of the gateway where that refuses
   */
  async ask<T>(method: 'GET' | 'POST', path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const { status, text } = await this.#request(method, path, body)
    if (status === 401) {
      throw failure(
        'ADMIN_TOKEN_REFUSED',
        this.#token === undefined
          ? `${this.place} wants a token: give --token, or set SLUICE_ADMIN_TOKEN`
          : `${this.place} does not take this token`,
      )
    }
    const json = parsed(text)
    const refused = readError(json)
    if (refused !== undefined) throw failure(refused.code, refused.message)
    const { data, success } = schema.safeParse(json)
    if (status === 200 && success) return data
    throw failure(
      'ADMIN_BAD_ANSWER',
      `${this.place} answers ${method} ${path} with status ${status} and not as a gateway does`,
    )
  }

  async #request(
    method: Dispatcher.HttpMethod,
    path: string,
    body: object | undefined,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const signal = AbortSignal.timeout(ANSWER_MS)
    const dispatcher = new Agent({ maxResponseSize: MAX_ANSWER_BYTES })
    try {
      const { statusCode, body: answer } = await request(new URL(path, this.#base), {
        method,
        headers: this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` },
        body: body === undefined ? null : JSON.stringify(body),
        dispatcher,
        signal,
      })
      return { status: statusCode, text: await answer.text() }
    } catch (error) {
      if (signal.aborted) {
        throw failure('ADMIN_SLOW', `${this.place} gives no answer within ${ANSWER_MS / 1000} s`, error)
      }
      // Several addresses of a name fail together, without words of their own.
      const why = errorMessage(error) || errorCode(error)
      throw failure('ADMIN_UNREACHABLE', `no gateway answers at ${this.place}: ${why}`, error)
    } finally {
      await dispatcher.destroy()
    }
  }
}

/** An error of these commands; what a gateway says of its own has its code. */
export function failure(
  code: AdminClientErrorCode | (string & {}),
  message: string,
  cause?: unknown,
): SluiceError {
  return new SluiceError(code, message, { side: 'client', retryable: false, cause })
}

function baseOf(text: string): URL {
  const url = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`
  if (URL.canParse(url)) {
    const base = new URL(url)
    if (/^https?:$/.test(base.protocol) && base.pathname === '/' && base.username === '') return base
  }
  throw failure('ADMIN_BAD_ADDRESS', `"${text}" is no address such as http://127.0.0.1:9190`)
}

function baseOfListen(listen: string): URL {
  const { host = '127.0.0.1', port = 0 } = parseListenText(listen) ?? {}
  if (port === 0) {
    throw failure('ADMIN_BAD_ADDRESS', `admin.listen is "${listen}", which has no fixed port: give --admin`)
  }
  // What listens at every address does so at that of the loopback.
  const reached = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host
  return new URL(`http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What a gateway says when it refuses. */
function readError(json: unknown): { readonly code: string; readonly message: string } | undefined {
  if (typeof json !== 'object' || json === null || !('error' in json)) return undefined
  const { error } = json
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error))
    return undefined
  const { code, message } = error
  return typeof code === 'string' && typeof message === 'string'
    ? { code: plainText(code), message: plainText(message) }
    : undefined
}
