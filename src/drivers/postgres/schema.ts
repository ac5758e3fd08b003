import type { Sql } from './connection.js'

/** What waits for a row that a transaction of somebody else keeps locked gives up after this. */
const LOCK_TIMEOUT = '300ms'

/** The functions of this version; another version of the library brings functions of its own beside them. */
const VERSION = 'bc1'

/** The table, the leases beside it, and the name of each step's function, as SQL writes them. */
export interface Schema {
  table: string
  leases: string
  /** `expires_at > now`, or never. */
  isAlive: string
  /** `expires_at - now`; null for ever. */
  msLeft: string
  /** The function of a step. */
  step(name: string): string
}

/**
 * The statements that make the table, its leases and the functions, for migrations where the driver
 * may not make them itself (`autoCreateTable: false`). They do nothing the second time.
 */
export function postgresSchema(tableName = 'bentocache'): string {
  return creation(namesOf(tableName, true))
}

/** Looks at the table as it is; makes what is missing. Knex keeps ends as moments, kysely as numbers. */
export async function prepare(sql: Sql, o: { tableName: string; autoCreateTable: boolean }): Promise<Schema> {
  const { table } = namesOf(o.tableName, true)
  const type = `(select format_type(atttypid, null) from pg_attribute where attrelid = to_regclass($1) and attname = 'expires_at') as type`
  const [{ type: found } = { type: null }] = await sql.query(`select ${type}`, [table])
  const names = namesOf(o.tableName, found === null || /timestamp|date/.test(String(found)))
  if (o.autoCreateTable) {
    const [{ made } = { made: false }] = await sql.query('select to_regproc($1) is not null and to_regclass($2) is not null as made', [
      names.step('acquire'),
      names.leases,
    ])
    if (found === null || made !== true) await sql.query(creation(names), [])
  }
  return names
}

interface Names extends Schema {
  isDate: boolean
}

function namesOf(tableName: string, isDate: boolean): Names {
  const parts = tableName.split('.')
  const name = parts.pop()!
  const quoted = (own: string) => [...parts, own].map((part) => `"${part.replaceAll('"', '""')}"`).join('.')
  const now = isDate ? 'clock_timestamp()' : MS_NOW
  return {
    isDate,
    table: quoted(name),
    leases: quoted(`${name}_leases`),
    isAlive: `(expires_at is null or expires_at > ${now})`,
    msLeft: isDate ? 'extract(epoch from expires_at - clock_timestamp()) * 1000' : `expires_at - ${MS_NOW}`,
    // The types of ends are part of the name: who makes the table anew in the other way gets other functions.
    step: (step) => quoted(`${name}_${VERSION}${isDate ? 'd' : 'n'}_${step}`),
  }
}

const MS_NOW = `floor(extract(epoch from clock_timestamp()) * 1000)::bigint`

/**
 * The steps of the protocol, a function each. A function and not one plain statement, because
 * under READ COMMITTED each statement in it sees what was committed before *it*: lock the row of
 * the lease, then look at the value. What must not be read with the eyes of the first lock:
 * a leader stores (lease gone, value there), we waited for its row, and see neither.
 *
 * The row of the lease is the only lock, always taken before the value, and who must shut others
 * out of a key that has none inserts one: `on conflict` waits for a row that is not committed yet.
 */
function creation(n: Names): string {
  const { table, leases, isDate } = n
  const alive = (alias: string) => n.isAlive.replaceAll('expires_at', `${alias}.expires_at`)
  const end = (ms: string) => (isDate ? `clock_timestamp() + ${ms} * interval '1 millisecond'` : `${MS_NOW} + ${ms}`)
  const ENDED = isDate ? `to_timestamp(0)` : '0'
  const print = n.step('print')
  const tail = `right(v.value, 60) ~ '^"createdAt":[0-9]{13},"logicalExpiration":[0-9]{13}}$'`
  const stored = `coalesce((select ${print}(v.value) from ${table} v where v.key = p_key and ${alive('v')}), '')`
  const createdAt = (value: string) => `coalesce(substring(${value} from '"createdAt":([0-9]+)')::bigint, 0)`
  const bounded = `perform set_config('lock_timeout', '${LOCK_TIMEOUT}', true);`
  // A lease or a value that a crash of the server forgets is a query more; a delete it forgets is an old value.
  const relaxed = `${bounded} perform set_config('synchronous_commit', 'off', true);`
  const upsert = (text: string, px: string) => `insert into ${table} as v (key, value, expires_at)
      values (p_key, ${text}, case when ${px} is null then null else ${end(px)} end)
      on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at`
  const define = (name: string, args: string, returns: string, declare: string, body: string) =>
    `create or replace function ${n.step(name)}(${args}) returns ${returns} language plpgsql volatile as $f$
    #variable_conflict use_column
    declare ${declare} begin ${body} end $f$;`

  return `do $bc$ begin
  -- Processes that start together make it one after the other.
  perform pg_advisory_xact_lock(hashtextextended('bentocache', 0));

  create table if not exists ${table} (key text collate "C" primary key, value text, expires_at ${isDate ? 'timestamptz' : 'bigint'});

  -- kind L: somebody computes; E: how it ended; T: an invalidation that is not committed yet.
  create unlogged table if not exists ${leases} (
    key text collate "C" primary key, kind "char" not null, term text not null default '', attempt text not null default '',
    held_until bigint not null default 0, fails int not null default 0, wanted boolean not null default false,
    outcome text, body text, dies_at bigint not null
  ) with (fillfactor = 60);

  create or replace function ${print}(value text) returns text language sql immutable as $f$
    select case when value is null or value = '' then '' when ${tail.replaceAll('v.value', 'value')} then right(value, 60)
      else encode(sha256(convert_to(value, 'UTF8')), 'hex') end
  $f$;

  ${define(
    'acquire',
    'p_key text, p_attempt text, p_ttl bigint, p_seen text, p_force boolean, p_ignore boolean, p_floor bigint, p_held_in text',
    'text[]',
    `r ${leases}%rowtype; t_at bigint; t_term text; t_seen text; t_fails int := 0; t_wanted boolean := false; is_new boolean := false;`,
    `${relaxed}
    t_seen := ${stored};
    if not p_force and t_seen <> p_seen then
      -- Granted, the reply lost, overwritten since: no orphan.
      delete from ${leases} where key = p_key and kind = 'L' and attempt = p_attempt;
      return array['changed'];
    end if;
    -- Most who ask are held: they lock nothing.
    t_at := ${MS_NOW};
    select * into r from ${leases} where key = p_key;
    if found and not p_force and r.kind = 'L' and r.wanted and r.attempt <> p_attempt and r.held_until > t_at then
      return array['held', r.term, (r.held_until - t_at)::text, t_at::text];
    end if;
    loop
      t_at := ${MS_NOW};
      t_term := p_attempt || '@' || floor(extract(epoch from clock_timestamp()) * 1000000)::bigint;
      insert into ${leases} (key, kind, term, attempt, held_until, dies_at)
        values (p_key, 'L', t_term, p_attempt, t_at + p_ttl, t_at + 4 * p_ttl) on conflict (key) do nothing;
      is_new := found;
      exit when is_new;
      select * into r from ${leases} where key = p_key for update;
      exit when found;
    end loop;
    -- Again, now that nobody can store: a leader may have done so since.
    t_seen := ${stored};
    if not p_force and t_seen <> p_seen then
      delete from ${leases} where key = p_key and attempt = p_attempt and kind = 'L';
      return array['changed'];
    end if;
    if not is_new then
      t_at := ${MS_NOW};
      if r.kind = 'L' and r.dies_at > t_at and not (p_force and r.attempt <> p_attempt) then
        if r.attempt <> p_attempt and r.held_until > t_at then
          if not r.wanted then update ${leases} set wanted = true where key = p_key; end if;
          return array['held', r.term, (r.held_until - t_at)::text, t_at::text];
        end if;
        t_term := r.term; t_fails := r.fails; t_wanted := r.wanted;
      elsif r.kind = 'E' and r.dies_at > t_at then
        if r.term = p_held_in then return array['ended', r.outcome, r.body]; end if;
        if r.outcome = 'F' and r.held_until > t_at and not p_force and not p_ignore then
          return array['failed', (r.held_until - t_at)::text, r.body];
        end if;
      end if;
      update ${leases} set kind = 'L', term = t_term, attempt = p_attempt, held_until = t_at + p_ttl, fails = t_fails,
        wanted = t_wanted, outcome = null, body = null, dies_at = t_at + 4 * p_ttl where key = p_key;
    end if;
    return array['granted', t_term, greatest(t_at, p_floor)::text, t_fails::text, t_seen];`
  )}

  ${define(
    'fulfill',
    'p_key text, p_term text, p_text text, p_px bigint, p_seen text, p_channel text, p_head text, p_room int',
    'text',
    't_wanted boolean;',
    `${relaxed}
    delete from ${leases} where key = p_key and kind = 'L' and term = p_term and dies_at > ${MS_NOW} returning wanted into t_wanted;
    if found then
      ${upsert('p_text', 'p_px')} where not ${alive('v')} or ${print}(v.value) in ('', p_seen);
      if found then
        if p_channel <> '' then
          perform pg_notify(p_channel, 'S' || p_head || case when t_wanted and octet_length(p_text) <= p_room then p_text else '' end);
        end if;
        return 'stored';
      end if;
    end if;
    -- A retry after a lost reply finds its own text.
    if exists (select from ${table} v where v.key = p_key and v.value = p_text and ${alive('v')}) then return 'stored'; end if;
    if t_wanted is null then return 'refused'; end if;
    -- Somebody wrote without our functions: our value is older than theirs.
    if p_channel <> '' then perform pg_notify(p_channel, 'A' || p_head); end if;
    return 'foreign';`
  )}

  ${define(
    'settle',
    `p_key text, p_term text, p_attempt text, p_outcome text, p_body text, p_followers boolean, p_backoff bigint, p_remember bigint,
     p_channel text, p_head text, p_room int`,
    'text',
    `r ${leases}%rowtype; t_at bigint; is_alive boolean; t_outcome text := p_outcome; t_fails int; t_backoff bigint := p_backoff;
     t_answer text; t_px bigint;`,
    `${relaxed}
    select * into r from ${leases} where key = p_key for update;
    t_at := ${MS_NOW};
    is_alive := found and r.kind = 'L' and r.term = p_term and r.dies_at > t_at;
    if not is_alive or r.attempt <> p_attempt then
      t_answer := 'lost';
      if p_outcome not in ('V', 'N') then t_outcome := case when is_alive then '' else 'A' end; end if;
    else
      t_fails := r.fails;
      if t_outcome = 'F' and t_fails = 0 and p_backoff = 0 and (r.wanted or p_followers) then t_outcome := 'A'; t_fails := 1; end if;
      if t_outcome = 'A' then
        -- Nobody's: a late renewal or acquire of this attempt must not take the lease back.
        update ${leases} set attempt = '', held_until = 0, fails = t_fails, wanted = r.wanted or p_followers where key = p_key;
        t_answer := 'again';
      else
        if t_outcome <> 'F' then t_backoff := 0; end if;
        t_px := greatest(t_backoff, case when r.wanted then p_remember else 0 end);
        if t_px = 0 then delete from ${leases} where key = p_key;
        else
          update ${leases} set kind = 'E', attempt = '', outcome = t_outcome, body = p_body, dies_at = t_at + t_px,
            held_until = case when t_backoff > 0 then t_at + t_backoff else 0 end where key = p_key;
        end if;
        t_answer := 'ended';
      end if;
    end if;
    if p_channel <> '' and t_outcome <> '' then
      if t_outcome <> 'A' and octet_length(p_body) <= p_room then perform pg_notify(p_channel, t_outcome || p_head || p_body);
      else perform pg_notify(p_channel, 'A' || p_head); end if;
    end if;
    return t_answer;`
  )}

  ${define(
    'renew',
    'p_keys text[], p_terms text[], p_attempts text[], p_holds boolean[], p_ttl bigint',
    'boolean[]',
    't_alive boolean[] := array[]::boolean[]; t_at bigint;',
    `${relaxed}
    for i in 1 .. coalesce(array_length(p_keys, 1), 0) loop
      t_at := ${MS_NOW};
      -- Who cannot lock it at once lets it be until the next time: one invalidation that is not committed must not hold up all.
      perform from ${leases} where key = p_keys[i] and kind = 'L' and term = p_terms[i] and dies_at > t_at for update skip locked;
      if found then
        update ${leases} set dies_at = greatest(dies_at, t_at + 4 * p_ttl),
          held_until = case when attempt = p_attempts[i] and p_holds[i] then t_at + p_ttl else held_until end where key = p_keys[i];
      end if;
      t_alive := t_alive || exists (select from ${leases} where key = p_keys[i] and kind = 'L' and term = p_terms[i] and dies_at > t_at);
    end loop;
    return t_alive;`
  )}

  -- The leases first: a leader in between is refused. In whatever transaction it runs, until that commits nobody is
  -- granted any of the keys (p_bar): what a leader would read before the commit is old after it.
  ${define(
    'remove',
    'p_keys text[], p_bar boolean, p_channel text, p_frames text[]',
    'text[]',
    't_existed text[];',
    `if p_bar then
      insert into ${leases} (key, kind, dies_at) select k, 'T', 0 from (select distinct unnest(p_keys) as k order by 1) x
        on conflict (key) do update set kind = 'T', term = '';
      if current_setting('transaction_isolation') <> 'read committed' then
        -- A value that this transaction cannot see would stay: touched, PostgreSQL rejects the transaction instead.
        insert into ${table} (key, value, expires_at) select k, '', ${ENDED} from (select distinct unnest(p_keys) as k order by 1) x
          on conflict (key) do update set expires_at = excluded.expires_at;
      end if;
    else
      ${bounded}
      perform from ${leases} where key = any (p_keys) order by key for update;
      delete from ${leases} where key = any (p_keys);
    end if;
    with gone as (delete from ${table} v where v.key = any (p_keys) returning v.key, ${alive('v')} as alive)
      select array_agg(key) filter (where alive) into t_existed from gone;
    if p_bar then delete from ${leases} where key = any (p_keys); end if;
    if p_channel <> '' then perform pg_notify(p_channel, f) from unnest(p_frames) f; end if;
    return coalesce(t_existed, array[]::text[]);`
  )}

  ${define(
    'take',
    'p_key text, p_channel text, p_frame text',
    'text',
    't_text text;',
    `${bounded}
    delete from ${leases} where key = p_key;
    with gone as (delete from ${table} v where v.key = p_key returning v.value, ${alive('v')} as alive)
      select value into t_text from gone where alive;
    if p_channel <> '' then perform pg_notify(p_channel, p_frame); end if;
    return t_text;`
  )}

  ${define(
    'put',
    'p_key text, p_text text, p_px bigint, p_channel text, p_frame text',
    'void',
    '',
    `${bounded}
    delete from ${leases} where key = p_key;
    ${upsert('p_text', 'p_px')};
    if p_channel <> '' then perform pg_notify(p_channel, p_frame); end if;`
  )}

  -- Makes values stale where they lie, their ends kept. A text that is not ours is answered 'foreign' and comes again, rewritten.
  ${define(
    'expire',
    'p_keys text[], p_stale_at bigint, p_channel text, p_frames text[]',
    'text[]',
    `t_answers text[] := array[]::text[]; t_answer text; p_key text;`,
    `${bounded}
    for i in 1 .. coalesce(array_length(p_keys, 1), 0) loop
      p_key := p_keys[i];
      delete from ${leases} where key = p_key;
      update ${table} v set value = left(v.value, length(v.value) - 14) || lpad(coalesce(p_stale_at, ${MS_NOW} - 100)::text, 13, '0') || '}'
        where v.key = p_key and ${alive('v')} and ${tail};
      if found then t_answer := 'stale';
      elsif ${stored} <> '' then t_answer := 'foreign';
      else t_answer := 'missing'; end if;
      if p_channel <> '' and t_answer <> 'foreign' then perform pg_notify(p_channel, p_frames[i]); end if;
      t_answers := t_answers || t_answer;
    end loop;
    return t_answers;`
  )}

  ${define(
    'rewrite',
    'p_key text, p_seen text, p_text text, p_channel text, p_frame text',
    'boolean',
    'is_done boolean;',
    `${bounded}
    delete from ${leases} where key = p_key;
    if p_text = '' then delete from ${table} v where v.key = p_key and ${print}(v.value) = p_seen;
    else update ${table} v set value = p_text where v.key = p_key and ${print}(v.value) = p_seen; end if;
    is_done := found;
    if is_done and p_channel <> '' then perform pg_notify(p_channel, p_frame); end if;
    return is_done;`
  )}

  -- Tag marks: now, or past an older one in any case. The clock of a server that took over may be behind.
  ${define(
    'time',
    'p_keys text[]',
    'bigint',
    '',
    `return greatest(${MS_NOW}, (select max(${createdAt('v.value')}) + 1 from ${table} v where v.key = any (p_keys)));`
  )}

  ${define(
    'mark',
    'p_keys text[], p_time bigint, p_text text, p_channel text, p_frames text[]',
    'bigint',
    't_carried bigint := p_time;',
    `${bounded}
    for i in 1 .. coalesce(array_length(p_keys, 1), 0) loop
      insert into ${table} as v (key, value, expires_at) values (p_keys[i], p_text, null)
        on conflict (key) do update set value = excluded.value, expires_at = null where ${createdAt('v.value')} < p_time;
      if not found then
        t_carried := greatest(t_carried, (select ${createdAt('v.value')} from ${table} v where v.key = p_keys[i]));
      elsif p_channel <> '' then perform pg_notify(p_channel, p_frames[i]); end if;
    end loop;
    return t_carried;`
  )}

  -- All leases, then the values, as the second statement sees them: a leader that stored while we waited for its lease included.
  ${define(
    'clear',
    'p_from text, p_to text, p_channel text, p_frame text',
    'void',
    '',
    `if p_from = '' then
      delete from ${leases};
      delete from ${table};
    else
      delete from ${leases} where key collate "C" >= p_from and key collate "C" < p_to;
      delete from ${table} where key collate "C" >= p_from and key collate "C" < p_to;
    end if;
    if p_channel <> '' then perform pg_notify(p_channel, p_frame); end if;`
  )}

  ${define(
    'prune',
    'p_values boolean',
    'void',
    '',
    `${relaxed}
    delete from ${leases} where key in (select key from ${leases} where dies_at <= ${MS_NOW} limit 10000 for update skip locked);
    if p_values then delete from ${table} v where not ${alive('v')}; end if;`
  )}
end $bc$`
}
