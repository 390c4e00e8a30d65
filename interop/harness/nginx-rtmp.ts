import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { Program } from './program.ts'
import { until } from './until.ts'

/** An nginx with the RTMP module: one server with the live application `live`. */
export interface NginxRtmp {
  readonly port: number
  readonly program: Program
}

/** @param listenOptions As `proxy_protocol`: what stands behind the address of its `listen`. */
export async function startNginxRtmp(folder: string, name: string, listenOptions = ''): Promise<NginxRtmp> {
  const home = join(folder, name)
  mkdirSync(home)
  const port = await freePort()
  const file = join(home, 'nginx.conf')
  writeFileSync(
    file,
    `load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
pid ${home}/pid;
error_log stderr error;
events {}
rtmp {
  access_log off;
  server {
    listen 127.0.0.1:${port} ${listenOptions};
    application live { live on; }
  }
}
`,
  )
  const program = new Program('nginx', ['-e', 'stderr', '-p', home, '-c', file])
  await until(`nginx at ${port}`, () => isListening(port))
  return { port, program }
}

/** nginx takes no port 0. */
async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const closed = once(server, 'close')
  server.close()
  await closed
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
  return true
}
