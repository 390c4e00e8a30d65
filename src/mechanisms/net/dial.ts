import { connect, type Socket, type TcpNetConnectOpts } from 'node:net'

/** Opens a TCP connection. Services are given one, so that a test can stand in for the network. */
export type Dial = (options: TcpNetConnectOpts) => Socket

/** The dial of the machine. */
export const dialTcp: Dial = (options) => connect(options)
