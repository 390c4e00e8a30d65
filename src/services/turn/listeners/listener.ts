import type { Certificate } from '../../../mechanisms/net/index.ts'

/** Why connections came to nothing; the labels of a metric. */
export const CONNECTION_REFUSALS = [
  'over-cap',
  'bad-proxy-header',
  'failed-handshake',
  'overdue',
  'displaced',
] as const
export type ConnectionRefusal = (typeof CONNECTION_REFUSALS)[number]

/** A port on which clients are served. */
export interface BoundListener {
  /** Port in use; 0 while not listening. */
  readonly port: number
  /** Connections that came to nothing since it was made, save those over the cap; of listeners that have connections. */
  readonly refusals?: Readonly<Record<Exclude<ConnectionRefusal, 'over-cap'>, number>>
  /** Opens the port. @throws what binding throws */
  start(): Promise<void>
  /** Closes the port and the connections on it; the allocations are ended by the server. */
  close(): Promise<void>
  /**
   * Shows another certificate to new connections.
   *
   * @throws NET_BAD_CERTIFICATE, of `dtls` TURN_BAD_OPTION and TURN_UNSUPPORTED; then the one before stays
   */
  setCertificate?(certificate: Certificate): void
}
