import { readFileSync } from 'node:fs'

const ESTABLISHED = '01'

/** Connections that processes of this machine have to a TCP port of 127.0.0.1. */
export function connectionsTo(port: number): number {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , to, state]) => to === remote && state === ESTABLISHED).length
}
