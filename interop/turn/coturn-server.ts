import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program, runProgram } from '../harness/program.ts'
import { oauthKeys, oauthServerName } from './oauth-keys.ts'
import type { TurnServerPorts, TurnServerSettings } from './turn-server.ts'

/** coturn in the place of Sluice: when a test fails, it tells whether the client or the server is at fault. */
export async function startCoturn(
  settings: TurnServerSettings,
  folder: string,
): Promise<TurnServerPorts & AsyncDisposable> {
  const [plain, tls] = [await freePort(), await freePort()]
  const database = join(folder, 'turndb')
  const file = join(folder, 'turnserver.conf')
  writeFileSync(
    file,
    [
      ...['127.0.0.1', '::1'].flatMap((address) => [`listening-ip=${address}`, `relay-ip=${address}`]),
      `listening-port=${plain}`,
      `tls-listening-port=${tls}`,
      ...usersOf(settings),
      `realm=${settings.realm}`,
      `cert=${settings.certificateFile}`,
      `pkey=${settings.keyFile}`,
      'allow-loopback-peers',
      'mobility',
      'no-cli',
      'log-file=stdout',
      `pidfile=${join(folder, 'pid')}`,
      `userdb=${database}`,
    ].join('\n'),
  )
  const program = new Program('turnserver', ['-c', file])
  // The last line of a start; all listeners are open by then.
  await program.line((line) => line.includes('SQLite DB connection success') || undefined)
  if (settings.credentials === 'oauth') await addOauthKeys(database)
  return {
    ports: { udp: plain, tcp: plain, tls },
    udp6Port: plain,
    [Symbol.asyncDispose]: async () => {
      await program.stop()
    },
  }
}

function usersOf({ credentials, username, password, secret }: TurnServerSettings): readonly string[] {
  if (credentials === 'secret') return ['use-auth-secret', `static-auth-secret=${secret}`]
  const users = ['lt-cred-mech', `user=${username}:${password}`]
  return credentials === 'oauth' ? [...users, 'oauth', `server-name=${oauthServerName}`] : users
}

/** They can only be in the database, which coturn has made when it has started. */
async function addOauthKeys(database: string): Promise<void> {
  const rows = oauthKeys.map(
    ({ kid, key, cipher }) => `('${kid}', '${Buffer.from(key).toString('base64')}', '${cipher}')`,
  )
  await runProgram('sqlite3', [
    database,
    `insert into oauth_key (kid, ikm_key, as_rs_alg) values ${rows.join(', ')}`,
  ])
}

/** coturn takes no port 0; nobody else is likely to take the one that was free just now. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(resolve))
  return port
}
