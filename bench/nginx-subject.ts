import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import { startDeadlineMs, type Subject, type SubjectKind } from './subject.ts'
import { untilListening } from './until-listening.ts'

/** How nginx passes live bodies on: as they come, or through buffers of 4 KiB, which is its default. */
type LiveBuffering = 'off' | 'on'

/** nginx as a reverse proxy: one process, like the gateway, connections to the origin kept. */
export function nginx(name: string, executable: string, liveBuffering: LiveBuffering = 'off'): SubjectKind {
  return { name, start: (originPort) => startNginx(executable, originPort, liveBuffering) }
}

async function startNginx(
  executable: string,
  originPort: number,
  liveBuffering: LiveBuffering,
): Promise<Subject> {
  const [port = 0] = await freePorts(1)
  const directory = mkdtempSync(join(tmpdir(), 'nginx-bench-'))
  const config = join(directory, 'nginx.conf')
  writeFileSync(config, configuration(directory, port, originPort, liveBuffering))
  const child = new Child(executable, ['-c', config, '-p', directory])
  const close = async (): Promise<void> => {
    await child.stop()
    rmSync(directory, { recursive: true })
  }
  try {
    await untilListening(child, port, startDeadlineMs)
  } catch (error) {
    await close()
    throw error
  }
  return { children: [child], loadOptions: ['--gateway', `http://127.0.0.1:${port}`], close }
}

function configuration(
  directory: string,
  port: number,
  originPort: number,
  liveBuffering: LiveBuffering,
): string {
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${join(directory, name)};`,
  )
  return `daemon off;
master_process off;
pid ${join(directory, 'pid')};
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  tcp_nodelay on;
${folders.join('\n')}
  upstream origin {
    server 127.0.0.1:${originPort};
    keepalive 256;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Real-IP $remote_addr;
    }
    location ~ \\.flv$ {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_buffering ${liveBuffering};
    }
  }
}
`
}
