import type { Login } from '../../../protocols/frp/index.ts'

const systems: Readonly<Record<string, string>> = { win32: 'windows', sunos: 'solaris' }
const processors: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  mipsel: 'mipsle',
  ppc64: 'ppc64le',
}

/** A platform of Node (`process.platform`, `process.arch`) in Go's names, which frp's tools know. */
export function goPlatform(platform: string, arch: string): Pick<Login, 'os' | 'arch'> {
  return { os: systems[platform] ?? platform, arch: processors[arch] ?? arch }
}
