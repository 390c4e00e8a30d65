import { type FrpProgram, type Make, startFrpc, startFrps } from './frp-program.ts'

export interface PairOptions {
  /** @defaultValue 'sluice' */
  readonly server?: Make
  /** @defaultValue 'sluice' */
  readonly client?: Make
  readonly bindPort: number
  /** @defaultValue true */
  readonly mux?: boolean
  /** @defaultValue true */
  readonly tls?: boolean
  /** Further settings of frps, as an object. */
  readonly serverMore?: object
  /** Further settings of frpc. */
  readonly clientMore?: object
  readonly proxies: readonly object[]
  readonly visitors?: readonly object[]
  /** Further environment variables of both. */
  readonly env?: Readonly<Record<string, string>>
}

const token = 'a token of the tests'

/** A server, and a client whose proxies are all in. */
export class Pair implements AsyncDisposable {
  readonly frps: FrpProgram
  readonly frpc: FrpProgram

  private constructor(frps: FrpProgram, frpc: FrpProgram) {
    this.frps = frps
    this.frpc = frpc
  }

  static async start(options: PairOptions): Promise<Pair> {
    const frps = await startFrps(options.server ?? 'sluice', frpsText(options), options.env)
    try {
      const frpc = await startFrpc(
        options.client ?? 'sluice',
        frpcText(options),
        options.proxies.length,
        options.env,
      )
      return new Pair(frps, frpc)
    } catch (error) {
      await frps[Symbol.asyncDispose]()
      throw new Error(`no pair; the server said:\n${frps.output}`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.frpc[Symbol.asyncDispose]()
    await this.frps[Symbol.asyncDispose]()
  }
}

export function frpsText({ bindPort, mux = true, serverMore }: Omit<PairOptions, 'proxies'>): string {
  return JSON.stringify({
    bindAddr: '127.0.0.1',
    bindPort,
    auth: { token },
    transport: { tcpMux: mux },
    log: { disablePrintColor: true },
    ...serverMore,
  })
}

export function frpcText({
  bindPort,
  mux = true,
  tls = true,
  clientMore,
  proxies,
  visitors = [],
}: PairOptions): string {
  return JSON.stringify({
    serverAddr: '127.0.0.1',
    serverPort: bindPort,
    auth: { token },
    transport: { tcpMux: mux, tls: { enable: tls } },
    log: { disablePrintColor: true },
    ...clientMore,
    proxies,
    visitors,
  })
}
