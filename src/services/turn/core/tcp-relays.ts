import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../../../foundation/clock.ts'
import { errorCode } from '../../../foundation/errors.ts'
import type { Datapath } from '../../../mechanisms/datapath/index.ts'
import { connectFromDescriptor, listenOnDescriptor, listenTcp } from '../../../mechanisms/net/index.ts'
import type { Relay, TcpRelay } from './allocation.ts'
import type { ResolvedRelay } from './listener-state.ts'
import type { RelayPool } from './relay-pool.ts'

/**
 * Opens a relayed TCP address. Empty when no port is left.
 *
 * @throws NET_ADDRESS_UNAVAILABLE, DATAPATH_ADDRESS_UNAVAILABLE and what else binding may say, save that a port is taken
 */
export async function openTcpRelay(
  where: ResolvedRelay,
  pool: RelayPool,
  datapath: Datapath,
  clock: Clock,
): Promise<readonly Relay[]> {
  const ports = pool.portsOf('tcp', where.address)
  for (let tries = 0; tries < maxTries; tries++) {
    const port = ports.take(where.from, where.to, 'any', clock.nowMs())
    if (port === undefined) return []
    try {
      return [pool.add(port, where, await listen(where.address, port, datapath))]
    } catch (error) {
      ports.release(port, clock.nowMs())
      if (!takenCodes.has(errorCode(error))) throw error
    }
  }
  return []
}

async function listen(address: string, port: number, datapath: Datapath): Promise<TcpRelay> {
  let take: ((socket: Socket) => void) | undefined
  const server: Server = createServer(
    { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
    (socket) => {
      socket.on('error', () => {})
      if (take === undefined) socket.destroy()
      else take(socket)
    },
  )
  server.maxConnections = maxAccepted
  const reuses = datapath.features.has('tcp-reuse')
  if (reuses) await listenOnDescriptor(server, datapath.bindTcp(address, port))
  else await listenTcp(server, { host: address, port })
  server.on('error', () => {})
  return {
    onConnection: (callback) => {
      take = callback
    },
    dial: (peer) =>
      reuses
        ? connectFromDescriptor(
            datapath.bindTcp(address, port),
            { host: peer.address, port: peer.port },
            { allowHalfOpen: true, noDelay: true },
          )
        : connect({
            host: peer.address,
            port: peer.port,
            localAddress: address,
            allowHalfOpen: true,
            noDelay: true,
          }),
    close: () => {
      server.close()
    },
  }
}

const maxTries = 16
const maxAccepted = 256
const takenCodes = new Set(['NET_PORT_TAKEN', 'DATAPATH_PORT_TAKEN', 'DATAPATH_PORTS_EXHAUSTED'])
