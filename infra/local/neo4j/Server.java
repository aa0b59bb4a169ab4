import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.graphdb.GraphDatabaseService;

/**
 * Runs Neo4j's community edition from its libraries, as they bring no program of their own.
 *
 * <p>Arguments: home directory, configuration file, file with the password of the user neo4j, file to
 * write once the server is ready and the password is set. Ends on SIGTERM.
 */
class Server {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        String password = Files.readString(Path.of(arguments[2])).strip();
        DatabaseManagementService server =
                new DatabaseManagementServiceBuilder(home).loadPropertiesFromFile(Path.of(arguments[1])).build();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        replaceFirstPassword(server.database("system"), password);
        if (!server.database("neo4j").isAvailable(60_000)) {
            throw new IllegalStateException("the database neo4j did not become available");
        }
        Files.writeString(Path.of(arguments[3]), "ready");
        Thread.currentThread().join();
    }

    /** A new server lets nobody in before the password it came with is replaced. */
    private static void replaceFirstPassword(GraphDatabaseService system, String password) {
        boolean first = system.executeTransactionally(
                "SHOW USERS YIELD user, passwordChangeRequired AS first WHERE user = 'neo4j' RETURN first",
                Map.of(),
                found -> (Boolean) found.next().get("first"));
        if (first) {
            system.executeTransactionally(
                    "ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED", Map.of("password", password));
        }
    }
}
