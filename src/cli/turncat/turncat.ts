import { lookup } from 'node:dns/promises'
import { systemClock } from '../../foundation/clock.ts'
import { errorMessage } from '../../foundation/errors.ts'
import { ipToBytes, ipToText } from '../../foundation/ip-text.ts'
import { createLogger, type Logger } from '../../mechanisms/telemetry/index.ts'
import type { TransportAddress } from '../../protocols/stun/index.ts'
import type { ControlLinkOptions } from './control-link.ts'
import { DatagramTunnel } from './datagram-tunnel.ts'
import { parseClient, parsePeer, type ClientEndpoint, type PeerEndpoint } from './endpoints.ts'
import { TurncatError, TurncatErrorCode } from './errors.ts'
import { credentialsOf, identityFrom } from './identity.ts'
import { parseLogLevel } from './log-level.ts'
import { pump } from './pump.ts'
import { StreamLocal } from './stream-local.ts'
import { StreamTunnel } from './stream-tunnel.ts'
import type { Tunnel, TunnelHandlers } from './tunnel.ts'
import { parseTurnUri, type TurnServer } from './turn-uri.ts'
import { UdpLocal } from './udp-local.ts'

/** The options of the command line. */
export interface TurncatOptions {
  readonly sni?: string
  readonly insecure?: boolean
  readonly log?: string
  readonly verbose?: boolean
  readonly wait?: string
}

/**
 * `sluice turncat CLIENT TURN PEER`: carries what comes to a local end to a peer, through a TURN server. With `-` it ends with
 * standard input; else at SIGTERM, SIGINT or SIGHUP. However it ends, the allocations are given back.
 *
 * @throws TurncatError for what cannot be read or opened; with `-` also for what goes wrong on the way
 */
export async function turncat(
  clientText: string,
  turnText: string,
  peerText: string,
  options: TurncatOptions,
): Promise<void> {
  const client = parseClient(clientText)
  const server = parseTurnUri(turnText)
  const peer = parsePeer(peerText)
  checkTogether(client, server, peer)
  const waitMs = parseWait(options.wait ?? '1')
  const level = options.verbose === true ? 'debug' : parseLogLevel(options.log ?? 'warn')
  const logger = createLogger({ level }).child({ component: 'turncat' })
  const identity = server.identity ?? identityFrom(process.env)
  const address: TransportAddress = { address: await resolvePeer(peer), port: peer.port }

  const makeTunnel = (handlers: TunnelHandlers): Tunnel => {
    const tunnelOptions: ControlLinkOptions = {
      link: {
        server,
        isInsecure: options.insecure ?? false,
        ...(options.sni !== undefined && { sni: options.sni }),
      },
      client: credentialsOf(identity, systemClock.wallMs()),
      clock: systemClock,
      logger,
    }
    return peer.kind === 'udp'
      ? new DatagramTunnel(tunnelOptions, address, handlers)
      : new StreamTunnel(tunnelOptions, address, handlers)
  }
  const stop = stopSignal(logger)
  if (client.kind === 'stdio') await runStdio(makeTunnel, waitMs, stop)
  else await runLocal(client, makeTunnel, waitMs, logger, stop)
}

async function runStdio(
  makeTunnel: (handlers: TunnelHandlers) => Tunnel,
  waitMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { stdin: source, stdout: sink } = process
  try {
    await pump({ source, sink, makeTunnel, waitMs, clock: systemClock, signal })
  } finally {
    // A terminal would be read from for ever.
    source.destroy()
  }
}

async function runLocal(
  endpoint: Exclude<ClientEndpoint, { readonly kind: 'stdio' }>,
  makeTunnel: (handlers: TunnelHandlers) => Tunnel,
  waitMs: number,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const local =
    endpoint.kind === 'udp'
      ? new UdpLocal({ ...endpoint, makeTunnel, clock: systemClock, logger })
      : new StreamLocal({ endpoint, makeTunnel, waitMs, clock: systemClock, logger })
  const address = await local.start()
  logger.info({ address }, 'listening')
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await local.close()
}

/** Aborted by the first signal to end, the end of a terminal included; a second one ends the process at once with code 1. */
function stopSignal(logger: Logger): AbortSignal {
  const controller = new AbortController()
  const stop = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(1)
    logger.info({ signal }, 'closing')
    controller.abort()
  }
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(name, stop)
  return controller.signal
}

function checkTogether(client: ClientEndpoint, server: TurnServer, peer: PeerEndpoint): void {
  if (peer.kind === 'udp') return
  if (server.transport === 'udp' || server.transport === 'dtls') {
    throw new TurncatError(
      TurncatErrorCode.uriInvalid,
      `a tcp:// PEER takes a TURN server over transport=tcp or tls, not ${server.transport} (RFC 6062)`,
    )
  }
  if (client.kind === 'udp') {
    throw new TurncatError(
      TurncatErrorCode.uriInvalid,
      'a tcp:// PEER takes a CLIENT that is a stream, not udp://',
    )
  }
}

async function resolvePeer({ kind, host, port }: PeerEndpoint): Promise<string> {
  try {
    // In the spelling that the server's answers are read in.
    const bytes = ipToBytes((await lookup(host)).address)
    if (bytes !== undefined) return ipToText(bytes)
    throw new Error('a zone means nothing to the server')
  } catch (error) {
    throw new TurncatError(
      TurncatErrorCode.uriInvalid,
      `PEER "${kind}://${host}:${port}" has no address: ${errorMessage(error)}`,
      error,
    )
  }
}

function parseWait(text: string): number {
  if (/^\d{1,5}(?:\.\d{1,3})?$/.test(text)) return Number(text) * 1000
  throw new TurncatError(
    TurncatErrorCode.optionInvalid,
    `--wait "${text}" is no number of seconds, 0 to 99999`,
  )
}
