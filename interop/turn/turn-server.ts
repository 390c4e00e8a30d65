import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeCertificate } from '../../src/mechanisms/net/certificate.testkit.ts'
import { temporaryFolder } from '../harness/temporary-folder.ts'
import { startCoturn } from './coturn-server.ts'
import { startSluice } from './sluice-server.ts'

/** How the users of a server prove themselves. */
export type TurnCredentials =
  | 'static' // `username` and `password`
  | 'secret' // time-limited ones, made of `secret`
  | 'oauth' // tokens under the keys of `oauth-keys.ts`

/** What a server under test is started with. */
export interface TurnServerSettings {
  readonly credentials: TurnCredentials
  readonly username: string
  readonly password: string
  readonly secret: string
  readonly realm: string
  /** PEM files: a certificate that signs itself, for `localhost`, 127.0.0.1 and ::1, and its key. */
  readonly certificateFile: string
  readonly keyFile: string
}

/** Where a started server listens. */
export interface TurnServerPorts {
  /** All on 127.0.0.1. */
  readonly ports: { readonly udp: number; readonly tcp: number; readonly tls: number }
  /** UDP on ::1. */
  readonly udp6Port: number
}

/** The ways to reach a server. */
export type TurnTransport = keyof TurnServerPorts['ports']

/** A running TURN server and what its clients are told. It relays on 127.0.0.1 and ::1, to peers on loopback. */
export interface TurnServerUnderTest extends TurnServerSettings, TurnServerPorts, AsyncDisposable {}

/**
 * Starts the server whose clients are tested: Sluice, or with `SLUICE_TEST_TURN=coturn` in the environment coturn, by
 * which a fault of the server can be told from one of the tests.
 */
export async function startTurnServer(credentials: TurnCredentials = 'static'): Promise<TurnServerUnderTest> {
  const folder = temporaryFolder()
  const settings = await writeSettings(folder.path, credentials)
  const isCoturn = process.env['SLUICE_TEST_TURN'] === 'coturn'
  const server = isCoturn ? await startCoturn(settings, folder.path) : await startSluice(settings)
  return {
    ...settings,
    ports: server.ports,
    udp6Port: server.udp6Port,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

/** Makes a certificate and gives what a server is to be started with. */
export async function writeSettings(
  folder: string,
  credentials: TurnCredentials = 'static',
): Promise<TurnServerSettings> {
  const certificateFile = join(folder, 'cert.pem')
  const keyFile = join(folder, 'key.pem')
  const { cert, key } = await makeCertificate()
  writeFileSync(certificateFile, cert)
  writeFileSync(keyFile, key)
  return {
    ...{ username: 'user', password: 'pass', secret: 'north', realm: 'sluice.test' },
    ...{ credentials, certificateFile, keyFile },
  }
}
