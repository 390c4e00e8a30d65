import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { freePorts } from '../../src/foundation/free-port.testkit.ts'
import { Program } from './program.ts'
import { until } from './until.ts'

export interface NginxOptions {
  /** What it writes lies here; its configuration too. */
  readonly home: string
  /** Its `rtmp` and `http` blocks. */
  readonly blocks: string
  /** It is ready when it listens at all of them. */
  readonly ports: readonly number[]
}

/** Starts an nginx that is one process, so that it can be killed as a whole. */
export async function startNginx({ home, blocks, ports }: NginxOptions): Promise<Program> {
  mkdirSync(home, { recursive: true })
  const file = join(home, 'nginx.conf')
  writeFileSync(
    file,
    `load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
pid ${home}/pid;
error_log stderr error;
events {}
${blocks}
`,
  )
  const program = new Program('nginx', ['-e', 'stderr', '-p', home, '-c', file])
  try {
    for (const port of ports) await until(`nginx at ${port}`, () => isListening(port))
  } catch (error) {
    await program.stop()
    throw error
  }
  return program
}

/** The `http` block of a server for the files of a directory, packaged media above all. It logs every request that it has answered. */
export function filesBlock(home: string, root: string, port: number): string {
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `http {
  types {
    application/vnd.apple.mpegurl m3u8;
    application/dash+xml mpd;
    video/mp2t ts;
    video/mp4 mp4 m4s;
  }
  log_format requests '$request_uri';
  access_log ${home}/requests requests;
  ${folders.map((folder) => `${folder}_temp_path ${home}/${folder};`).join(' ')}
  server {
    listen 127.0.0.1:${port};
    root ${root};
    location ~ \\.(m3u8|mpd)$ { add_header Cache-Control no-cache; }
  }
}`
}

/** An nginx that serves the files of a directory. */
export interface NginxFiles extends AsyncDisposable {
  readonly port: number
  /** Paths and queries of what it was asked for, oldest first. */
  requests(): readonly string[]
}

/** Serves what is in `root`, at paths as there. */
export async function startNginxFiles(home: string, root: string): Promise<NginxFiles> {
  const [port = 0] = await freePorts(1)
  const program = await startNginx({ home, blocks: filesBlock(home, root, port), ports: [port] })
  return {
    port,
    requests: () => readFileSync(join(home, 'requests'), 'utf8').split('\n').slice(0, -1),
    [Symbol.asyncDispose]: async () => {
      await program.stop()
    },
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
  return true
}
