/** How a client reaches a peer: UDP, or TCP (RFC 6062). */
export type PeerProtocol = 'udp' | 'tcp'

/**
 * Which peers the clients of a listener may reach. Addresses are canonical texts, as the STUN decoder gives them.
 * The server's own listeners and live allocations are not its business.
 */
export interface PeerPolicy {
  /** Whether some port of this address may be reached; asked where no port is known (CreatePermission). */
  admitsAddress(address: string, protocol: PeerProtocol): boolean
  /** Whether this very peer may be reached. Never true of port 0. */
  admits(address: string, port: number, protocol: PeerProtocol): boolean
  /** Calls back after its rules or a resolved name have changed. Gives what ends that. */
  onChange(callback: () => void): () => void
}
