import type { Certificate } from '../../../mechanisms/net/index.ts'

/** A port on which clients are served. */
export interface BoundListener {
  /** Port in use; 0 while not listening. */
  readonly port: number
  /** Opens the port. @throws what binding throws */
  start(): Promise<void>
  /** Closes the port and the connections on it; the allocations are ended by the server. */
  close(): Promise<void>
  /** Shows another certificate to new connections. @throws NET_BAD_CERTIFICATE; then the one before stays */
  setCertificate?(certificate: Certificate): void
}
