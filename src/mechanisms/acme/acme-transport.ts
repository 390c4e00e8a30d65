import { AsyncLocalStorage } from 'node:async_hooks'
import { readFile } from 'node:fs/promises'
import { Agent } from 'node:https'
import { rootCertificates } from 'node:tls'
import type * as acmeClient from 'acme-client'
import { z } from 'zod'

/** How the requests of one order are made, and what the authority last had to say. */
export interface AcmeRun {
  readonly signal: AbortSignal
  readonly timeoutMs: number
  readonly agent: Agent
  /** The last refusal; undefined when there was none. */
  problem?: AcmeProblem
}

/** RFC 8555 §6.7. */
export interface AcmeProblem {
  readonly type: string
  readonly retryAfterMs: number
}

/** What is used of acme-client. */
export type AcmeModule = Pick<typeof acmeClient, 'Client' | 'crypto'>

const MAX_BYTES = 1_048_576

/** acme-client has one HTTP client for all; this tells whose request it is. */
const runs = new AsyncLocalStorage<AcmeRun>()
let loading: Promise<AcmeModule> | undefined

/** Runs something that uses acme-client. */
export async function withAcme<T>(run: AcmeRun, action: (acme: AcmeModule) => Promise<T>): Promise<T> {
  loading ??= load()
  const acme = await loading
  return await runs.run(run, () => action(acme))
}

/** The TLS of requests, which believes the authorities of a file too. */
export async function acmeAgent(ca: string | undefined): Promise<Agent> {
  return new Agent(ca === undefined ? {} : { ca: [...rootCertificates, await readFile(ca, 'utf8')] })
}

/** Loaded only where it is wanted: it brings much along. */
async function load(): Promise<AcmeModule> {
  const { default: acme } = await import('acme-client')
  const { axios } = acme
  Object.assign(axios.defaults, {
    // A proxy that the environment names is for others.
    proxy: false,
    maxContentLength: MAX_BYTES,
    maxBodyLength: MAX_BYTES,
    maxRedirects: 3,
  })
  // It would try again what failed; whoever orders does so, later and with everything anew. And of a connection that failed it
  // would tell a TypeError.
  axios.interceptors.request.clear()
  axios.interceptors.response.clear()
  axios.interceptors.request.use((config) => {
    const run = runs.getStore()
    if (run === undefined) return config
    return Object.assign(config, { signal: run.signal, timeout: run.timeoutMs, httpsAgent: run.agent })
  })
  axios.interceptors.response.use((response) => {
    const run = runs.getStore()
    const type = problemType.safeParse(response.data).data?.type
    if (run !== undefined && response.status >= 400) {
      const retryAfterMs = retryAfter(String(response.headers['retry-after'] ?? ''))
      run.problem = { type: type ?? `HTTP ${response.status}`, retryAfterMs }
    }
    return response
  })
  return acme
}

const problemType = z.object({ type: z.string() })

/** RFC 9110 §10.2.3: seconds, or a date. */
function retryAfter(text: string): number {
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return ms > 0 ? ms : 0
}
