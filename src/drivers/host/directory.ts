import { mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { E_INVALID_OPTION } from '../../base/errors.js'
import { reasonOf } from './trouble.js'

/** File systems whose files other machines or another kernel see, too: no memory is shared through them. */
const NETWORK = new Set(
  '9p acfs afs beegfs ceph cifs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs prl_fs pvfs2 smb2 smb3 smbfs vboxsf virtiofs vmhgfs'.split(' ')
)
/** What rootless containers run on; any other program behind FUSE may do as it likes. */
const LOCAL_FUSE = 'fuse.fuse-overlayfs'

/**
 * Makes the directory if there is none.
 * @throws E_INVALID_OPTION when it is not this user's alone, or not local
 */
export function claimDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw refusal(directory, `a directory that is there, or can be made: ${reasonOf(error)}`)
  }
  const { uid, mode } = statSync(directory)
  // Windows has other rights, inherited from the user's own directories.
  const me = process.geteuid?.()
  if (me !== undefined && uid !== me) {
    throw refusal(directory, `a directory of the user who runs this (uid ${me}): this one belongs to uid ${uid}`)
  }
  if (me !== undefined && (mode & 0o077) !== 0) {
    throw refusal(directory, `a directory that no other user may enter: this one has mode ${(mode & 0o777).toString(8)}, make it 700`)
  }
  const type = networkTypeOf(directory)
  if (type !== undefined) {
    throw refusal(directory, `a directory on a local file system: this one is on ${type}, where processes do not share memory`)
  }
}

/** The type of a network's file system; undefined: local, as far as this system tells. */
export function networkTypeOf(directory: string, mounts: string = readMounts()): string | undefined {
  const path = realpathSync(directory)
  if (process.platform === 'win32') return /^[\\/]{2}(?![?.][\\/])/.test(path) ? 'a network share' : undefined
  const type = typeOf(path, mounts)
  if (type === undefined) return undefined
  const isNetwork = NETWORK.has(type) || (type.startsWith('fuse.') && type !== LOCAL_FUSE)
  return isNetwork ? type : undefined
}

/** Of `/proc/self/mountinfo`: the deepest mount point above the path; of two there, the later one. */
function typeOf(path: string, mounts: string): string | undefined {
  let deepest = -1
  let type: string | undefined
  for (const line of mounts.split('\n')) {
    const [mount, device] = line.split(' - ')
    const point = mount!.split(' ')[4]?.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)))
    if (device === undefined || point === undefined) continue
    const isAbove = point === '/' || path === point || path.startsWith(`${point}/`)
    if (!isAbove || point.length < deepest) continue
    deepest = point.length
    type = device.split(' ')[0]
  }
  return type
}

function readMounts(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'utf8')
  } catch {
    return '' // not Linux: nothing is said here
  }
}

function refusal(directory: string, allowed: string): Error {
  return new E_INVALID_OPTION('directory', resolve(directory), allowed)
}
